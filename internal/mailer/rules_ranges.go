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
		ranged("100.100.100.200/32", "a metadata service"), // Alibaba Cloud
		ranged("168.63.129.16/32", "a metadata service"),   // Azure
		ranged("192.0.0.192/32", "a metadata service"),     // Oracle Cloud
	}
	// specialRanges are not public and need RELAY_ALLOW.
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
		ranged("::/96", "special-purpose"),       // IPv4-compatible, RFC 4291
		ranged("64:ff9b:1::/48", "private"),      // local NAT64, RFC 8215
		ranged("100::/64", "discard-only"),       // RFC 6666
		ranged("2001::/23", "special-purpose"),   // Teredo among others
		ranged("2001:db8::/32", "documentation"), // RFC 3849
		ranged("3fff::/20", "documentation"),     // RFC 9637
		ranged("5f00::/16", "special-purpose"),   // RFC 9602
	}
	nat64   = netip.MustParsePrefix("64:ff9b::/96")
	sixToIV = netip.MustParsePrefix("2002::/16")
)

func ranged(prefix, kind string) addressRange {
	return addressRange{prefix: netip.MustParsePrefix(prefix), kind: kind}
}

// neverAllowed says what an address is that can never be a relay's; "" for
// any other.
func neverAllowed(addr netip.Addr) string { return kindIn(neverRelays, addr) }

// notPublic says what an address is that is not public; "" for a public one.
func notPublic(addr netip.Addr) string { return kindIn(specialRanges, addr) }

func kindIn(ranges []addressRange, addr netip.Addr) string {
	for _, r := range ranges {
		if r.prefix.Contains(addr) {
			return r.kind
		}
	}
	return ""
}

// embedded is the IPv4 address inside an IPv4-mapped, NAT64 (RFC 6052) or
// 6to4 (RFC 3056) address, and else the address itself, without a zone.
func embedded(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	b := addr.As16()
	switch {
	case nat64.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case sixToIV.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6]))
	default:
		return addr
	}
}
