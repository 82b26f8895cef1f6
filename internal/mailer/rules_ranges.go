package mailer

import "net/netip"

// addressRange is a range of addresses and what they are.
type addressRange struct {
	prefix netip.Prefix
	kind   string
}

// The tables below are values that never change: the special-purpose
// registries of IANA (RFC 6890) and the metadata services of the clouds.
var (
	// neverRelays cannot be allowed by any setting.
	neverRelays = []addressRange{
		ranged("0.0.0.0/32", "unspecified"),
		ranged("::/128", "unspecified"),
		ranged("255.255.255.255/32", "broadcast"),
		ranged("224.0.0.0/4", "multicast"),
		ranged("ff00::/8", "multicast"),
		ranged("169.254.0.0/16", "link-local, where metadata services are"),
		ranged("fe80::/10", "link-local"),
		ranged("fd00:ec2::/32", "a metadata service"),      // AWS
		ranged("fd20:ce::254/128", "a metadata service"),   // Google Cloud
		ranged("100.100.100.200/32", "a metadata service"), // Alibaba Cloud
		ranged("168.63.129.16/32", "a metadata service"),   // Azure
		ranged("192.0.0.192/32", "a metadata service"),     // Oracle Cloud
	}
	// specialRanges are not public and need RELAY_ALLOW, as does every IPv6
	// address outside of publicIPv6, named here or not.
	specialRanges = []addressRange{
		ranged("127.0.0.0/8", "loopback"),
		ranged("::1/128", "loopback"),
		ranged("10.0.0.0/8", "private"),
		ranged("172.16.0.0/12", "private"),
		ranged("192.168.0.0/16", "private"),
		ranged("fc00::/7", "private"),
		ranged("fec0::/10", "private"), // site-local, RFC 3879
		ranged("100.64.0.0/10", "carrier-private (RFC 6598)"),
		ranged("0.0.0.0/8", "special-purpose"),
		ranged("192.0.0.0/24", "special-purpose"),
		ranged("192.31.196.0/24", "special-purpose"),
		ranged("192.52.193.0/24", "special-purpose"),
		ranged("192.88.99.0/24", "special-purpose"), // 6to4 relays, RFC 7526
		ranged("192.175.48.0/24", "special-purpose"),
		ranged("198.18.0.0/15", "for benchmarks"),
		ranged("192.0.2.0/24", "for documentation"),
		ranged("198.51.100.0/24", "for documentation"),
		ranged("203.0.113.0/24", "for documentation"),
		ranged("240.0.0.0/4", "reserved"),
		ranged("::/96", "special-purpose"),             // IPv4-compatible, RFC 4291
		ranged("64:ff9b:1::/48", "private"),            // local NAT64, RFC 8215
		ranged("100::/64", "discard-only"),             // RFC 6666
		ranged("2001::/23", "special-purpose"),         // Teredo among others
		ranged("2001:db8::/32", "documentation"),       // RFC 3849
		ranged("2620:4f:8000::/48", "special-purpose"), // AS112, RFC 7534
		ranged("3fff::/20", "documentation"),           // RFC 9637
		ranged("5f00::/16", "special-purpose"),         // RFC 9602
	}
	// publicIPv6 is all that is given out for use on the internet (RFC 4291
	// section 2.4).
	publicIPv6 = netip.MustParsePrefix("2000::/3")

	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // RFC 6052
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765
	sixToIV    = netip.MustParsePrefix("2002::/16")       // RFC 3056
	localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48")  // RFC 8215
	teredo     = netip.MustParsePrefix("2001::/32")       // RFC 4380
	compatible = netip.MustParsePrefix("::/96")           // RFC 4291
)

func ranged(prefix, kind string) addressRange {
	return addressRange{prefix: netip.MustParsePrefix(prefix), kind: kind}
}

// neverAllowed says what an address is that can never be a relay's, by itself
// or by an IPv4 address that it may lead to; "" for any other.
func neverAllowed(addr netip.Addr) string {
	if kind := kindIn(neverRelays, addr); kind != "" {
		return kind
	}
	for _, inner := range mayLeadTo(addr) {
		if inner.IsUnspecified() { // it is not that one
			continue
		}
		if kind := kindIn(neverRelays, inner); kind != "" {
			return kind
		}
	}
	return ""
}

// notPublic says what an address is that is not public; "" for a public one.
func notPublic(addr netip.Addr) string {
	if kind := kindIn(specialRanges, addr); kind != "" {
		return kind
	}
	if addr.Is6() && !publicIPv6.Contains(addr) {
		return "reserved (outside of 2000::/3)"
	}
	return ""
}

func kindIn(ranges []addressRange, addr netip.Addr) string {
	for _, r := range ranges {
		if r.prefix.Contains(addr) {
			return r.kind
		}
	}
	return ""
}

// embedded is the IPv4 address inside an IPv4-mapped, IPv4-translated, NAT64 or
// 6to4 address, and else the address itself, without a zone.
func embedded(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	b := addr.As16()
	switch {
	case nat64.Contains(addr), translated.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case sixToIV.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6]))
	default:
		return addr
	}
}

// mayLeadTo are the IPv4 addresses that may be inside an address that is not
// public, where it depends on its network which one it is.
func mayLeadTo(addr netip.Addr) []netip.Addr {
	at := func(octets ...byte) netip.Addr { return netip.AddrFrom4([4]byte(octets)) }
	b := addr.As16()
	switch {
	case addr.Is4():
		return nil
	case localNAT64.Contains(addr): // by the length of the network's prefix, RFC 6052 section 2.2
		return []netip.Addr{at(b[12:]...), at(b[9:13]...), at(b[7], b[9], b[10], b[11]), at(b[6], b[7], b[9], b[10])}
	case teredo.Contains(addr): // its server, and its client's in reverse
		return []netip.Addr{at(b[4:8]...), at(^b[12], ^b[13], ^b[14], ^b[15])}
	case compatible.Contains(addr):
		return []netip.Addr{at(b[12:]...)}
	default:
		return nil
	}
}
