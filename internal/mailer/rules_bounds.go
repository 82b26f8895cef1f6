package mailer

import (
	"net/netip"
	"slices"
)

// Choice says which relays may be used at all.
type Choice string

// The choices. Each of them holds beside the rules about addresses and ports.
const (
	AnyRelay     Choice = "any"     // whatever the other rules allow; "" is the same
	ListedRelay  Choice = "listed"  // the default one, and hosts and networks of RELAY_ALLOW
	DefaultRelay Choice = "default" // the default one with its own account
)

// Bounds narrow Rules. The zero value does not.
type Bounds struct {
	Choice     Choice
	Default    Relay // the default relay; its password is not needed
	RequireTLS bool  // no relay is used in clear
}

// Within gives the rules narrowed by the bounds.
func (r Rules) Within(b Bounds) Rules {
	b.Default.Password = ""
	r.bounds = b
	return r
}

// CheckTransport is the part of CheckRelay about TLS.
func (r Rules) CheckTransport(useTLS bool) error {
	switch {
	case r.bounds.RequireTLS && !useTLS:
		return ruleErrorf("a relay must not be used without TLS; RELAY_REQUIRE_TLS=true asks for it")
	case r.bounds.Choice == DefaultRelay && useTLS != r.bounds.Default.UseTLS:
		return ruleErrorf("TLS must be as it is with the default relay, and RELAYS=default allows no other")
	default:
		return nil
	}
}

// CheckAccount is the part of CheckRelay about the user name. A provider's
// server has many accounts, and some keep a copy of all that they send.
func (r Rules) CheckAccount(username string) error {
	if r.bounds.Choice == DefaultRelay && username != r.bounds.Default.Username {
		return ruleErrorf("the user name is not the default relay's, and RELAYS=default allows no other")
	}
	return nil
}

// checkChosen says whether the bounds let the host be used. A name is listed by
// name, wherever it leads; an address is in a network that is listed.
func (r Rules) checkChosen(host string) error {
	isDefault := r.bounds.Default.Host != "" && hostKey(host) == hostKey(r.bounds.Default.Host)
	switch r.bounds.Choice {
	case ListedRelay:
		addr, err := netip.ParseAddr(host)
		if isDefault || slices.Contains(r.hosts, hostKey(host)) || err == nil && r.inPrefixes(embedded(addr)) {
			return nil
		}
		return ruleErrorf("relay %s is not one of RELAY_ALLOW, and RELAYS=listed allows no other", host)
	case DefaultRelay:
		if isDefault {
			return nil
		}
		return ruleErrorf("relay %s is not the default one, and RELAYS=default allows no other", host)
	default:
		return nil
	}
}

func (r Rules) inPrefixes(addr netip.Addr) bool {
	return slices.ContainsFunc(r.prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}
