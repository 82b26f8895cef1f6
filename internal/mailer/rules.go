package mailer

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Rules say where relays may be. The zero value allows public addresses on
// the ports of DefaultRelayPorts.
type Rules struct {
	hosts    []string
	prefixes []netip.Prefix
	ports    []int
	bounds   Bounds
}

// DefaultRelayPorts are the ports of mail submission: implicit TLS,
// submission, and the one that many relays offer besides.
func DefaultRelayPorts() []int { return []int{465, 587, 2525} }

// ruleError is a refusal by the Rules. It says which setting would allow it.
type ruleError struct{ text string }

func (e *ruleError) Error() string { return e.text }

func ruleErrorf(format string, args ...any) error {
	return &ruleError{text: fmt.Sprintf(format, args...)}
}

// ParseRules reads the values of RELAY_ALLOW (host names, IP addresses and
// CIDR prefixes that are allowed although not public) and RELAY_PORTS; none
// means DefaultRelayPorts. The error names the setting and the value that
// breaks its rule.
func ParseRules(allow []string, ports []int) (Rules, error) {
	rules := Rules{ports: slices.Clone(ports)}
	for _, port := range ports {
		if port < 1 || port > 65535 {
			return Rules{}, fmt.Errorf("RELAY_PORTS: %d is not a port", port)
		}
	}
	for _, entry := range allow {
		if err := rules.allow(entry); err != nil {
			return Rules{}, fmt.Errorf("RELAY_ALLOW: %q %w", entry, err)
		}
	}
	return rules, nil
}

// allow adds one entry. The error stands behind the entry.
func (r *Rules) allow(entry string) error {
	prefix, err := parsePrefix(entry)
	if err != nil {
		if strings.Contains(entry, "/") {
			return errors.New("is not a CIDR prefix such as 10.0.0.0/8")
		}
		if err := checkHostName(entry); err != nil {
			return err
		}
		r.hosts = append(r.hosts, hostKey(entry))
		return nil
	}
	for _, never := range neverRelays {
		if never.prefix.Bits() <= prefix.Bits() && never.prefix.Overlaps(prefix) {
			return fmt.Errorf("is %s, which can never be allowed", never.kind)
		}
	}
	r.prefixes = append(r.prefixes, prefix)
	return nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = embedded(addr)
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	return prefix.Masked(), err
}

// CheckRelay says whether a relay may be used, as far as that shows before
// its name is resolved: for an early answer. Each dial makes it as well, and
// checks the final address. The error is what a person can act on.
func (r Rules) CheckRelay(relay Relay) error {
	for _, err := range []error{
		r.CheckHost(relay.Host), r.CheckPort(relay.Port), r.CheckTransport(relay.UseTLS), r.CheckAccount(relay.Username),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// CheckPort is the part of CheckRelay about the port.
func (r Rules) CheckPort(port int) error {
	if r.bounds.Choice == DefaultRelay && port != r.bounds.Default.Port {
		return ruleErrorf("port %d is not the default relay's, and RELAYS=default allows no other", port)
	}
	ports := r.ports
	if len(ports) == 0 {
		ports = DefaultRelayPorts()
	}
	if !slices.Contains(ports, port) {
		return ruleErrorf("port %d is not among the ports for relays (%s); RELAY_PORTS sets them", port, joinInts(ports))
	}
	return nil
}

// CheckHost is the part of CheckRelay about the host.
func (r Rules) CheckHost(host string) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		return r.checkAddr(host, addr)
	}
	if err := checkHostName(host); err != nil {
		return ruleErrorf("the relay's host %s", err) // which may be as long as a request
	}
	if err := r.checkChosen(host); err != nil {
		return err
	}
	key := hostKey(host)
	isLocal := key == "localhost" || strings.HasSuffix(key, ".localhost")
	if isLocal && !slices.Contains(r.hosts, key) && !r.allowsLoopback() {
		return ruleErrorf("host %q is this machine, which is not allowed as a relay; RELAY_ALLOW can allow it", host)
	}
	return nil
}

func (r Rules) allowsLoopback() bool {
	return slices.ContainsFunc(r.prefixes, func(p netip.Prefix) bool { return p.Addr().IsLoopback() })
}

// checkAddr is the check that counts: host is the name under which the relay
// was asked for, addr what it led to. The error names an address only where
// that is what was asked for: what a name leads to is no business of callers
// whom the rules keep away from it.
func (r Rules) checkAddr(host string, addr netip.Addr) error {
	what := fmt.Sprintf("the address that relay %s leads to", host)
	if _, err := netip.ParseAddr(host); err == nil {
		what = fmt.Sprintf("relay address %s", addr.WithZone(""))
	}
	if addr.Zone() != "" {
		return ruleErrorf("%s has a zone; link-local addresses can never be allowed", what)
	}
	plain := embedded(addr)
	if kind := neverAllowed(plain); kind != "" {
		return ruleErrorf("%s is %s, which can never be allowed", what, kind)
	}
	if err := r.checkChosen(host); err != nil {
		return err
	}
	kind := notPublic(plain)
	if kind == "" || slices.Contains(r.hosts, hostKey(host)) || r.inPrefixes(plain) {
		return nil
	}
	return ruleErrorf("%s is %s and not allowed; RELAY_ALLOW can allow it", what, kind)
}

// hostKey is the form in which host names are compared.
func hostKey(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// checkHostName says whether s is a host name: letters, digits, hyphens and
// underscores in labels, and not a number, since resolvers read numbers such
// as 2852039166 or 0x7f.1 as IPv4 addresses. The error stands behind the name.
func checkHostName(s string) error {
	name := strings.TrimSuffix(s, ".")
	if name == "" || len(name) > 253 {
		return errors.New("must be a host name of 1 to 253 octets")
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if err := checkLabel(label); err != nil {
			return err
		}
	}
	if looksNumeric(labels[len(labels)-1]) {
		return errors.New("is neither a host name nor an IP address in its usual form (four decimal numbers, or IPv6)")
	}
	return nil
}

func checkLabel(label string) error {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return errors.New("must have labels of 1 to 63 octets that neither start nor end with a hyphen")
	}
	for _, c := range label {
		isLDH := c == '-' || c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !isLDH {
			return fmt.Errorf("must not have %q (an internationalised name is written in its xn-- form)", c)
		}
	}
	return nil
}

// looksNumeric: the last label of a name is a number for inet_aton, decimal,
// octal or hexadecimal.
func looksNumeric(label string) bool {
	if strings.Trim(label, "0123456789") == "" {
		return true
	}
	digits, isHex := strings.CutPrefix(strings.ToLower(label), "0x")
	return isHex && strings.Trim(digits, "0123456789abcdef") == ""
}

func joinInts(ns []int) string {
	parts := make([]string, len(ns))
	for i, n := range ns {
		parts[i] = strconv.Itoa(n)
	}
	return strings.Join(parts, ", ")
}
