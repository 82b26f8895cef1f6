package mailer

import (
	"net/netip"
	"strings"
	"testing"
)

// TestBounds: what RELAYS and RELAY_REQUIRE_TLS leave of the relays that the
// other rules allow.
func TestBounds(t *testing.T) {
	t.Parallel()
	def := Relay{Host: "smtp.example.com", Port: 587, UseTLS: true, Username: "postern"}
	with := func(change func(*Relay)) Relay {
		r := def
		change(&r)
		return r
	}
	elsewhere := func(host string) Relay { return Relay{Host: host, Port: 465, UseTLS: true, Username: "own"} }
	hosts, networks := []string{"Relay.Agency.example"}, []string{"10.20.0.0/16", "192.0.2.9"}
	for _, c := range []struct {
		what  string
		allow []string
		bound Bounds
		relay Relay
		fault string // what the error must say; "" for allowed
	}{
		{"any", nil, Bounds{Choice: AnyRelay}, elsewhere("evil.example"), ""},
		{"no choice", nil, Bounds{}, elsewhere("evil.example"), ""},

		{"default among listed", nil, Bounds{Choice: ListedRelay, Default: def}, def, ""},
		{"default in another spelling", nil, Bounds{Choice: ListedRelay, Default: def}, elsewhere("SMTP.example.com."), ""},
		{"listed host", hosts, Bounds{Choice: ListedRelay}, elsewhere("relay.agency.example"), ""},
		{"unlisted host", hosts, Bounds{Choice: ListedRelay, Default: def}, elsewhere("evil.example"), "RELAYS=listed"},
		{"below a listed host", hosts, Bounds{Choice: ListedRelay, Default: def}, elsewhere("x.relay.agency.example"), "RELAYS=listed"},
		{"unlisted address", networks, Bounds{Choice: ListedRelay, Default: def}, elsewhere("8.8.8.8"), "RELAYS=listed"},
		{"unlisted private address", networks, Bounds{Choice: ListedRelay}, elsewhere("10.21.0.1"), "RELAYS=listed"},
		{"a name that may lead into a network", networks, Bounds{Choice: ListedRelay, Default: def}, elsewhere("evil.example"), "RELAYS=listed"},
		{"listed address", networks, Bounds{Choice: ListedRelay}, elsewhere("10.20.0.25"), ""},
		{"listed address, mapped", networks, Bounds{Choice: ListedRelay}, elsewhere("::ffff:10.20.0.25"), ""},
		{"nothing listed", nil, Bounds{Choice: ListedRelay}, elsewhere("smtp.example.com"), "RELAYS=listed"},

		{"default", hosts, Bounds{Choice: DefaultRelay, Default: def}, def, ""},
		{"listed beside the default", hosts, Bounds{Choice: DefaultRelay, Default: def}, elsewhere("relay.agency.example"), "RELAYS=default"},
		{"address beside the default", networks, Bounds{Choice: DefaultRelay, Default: def}, elsewhere("10.20.0.25"), "RELAYS=default"},
		{"default's other port", nil, Bounds{Choice: DefaultRelay, Default: def}, with(func(r *Relay) { r.Port = 465 }), "RELAYS=default"},
		{"default's other account", nil, Bounds{Choice: DefaultRelay, Default: def}, with(func(r *Relay) { r.Username = "own" }), "RELAYS=default"},
		{"default in clear", nil, Bounds{Choice: DefaultRelay, Default: def}, with(func(r *Relay) { r.UseTLS = false }), "RELAYS=default"},

		{"TLS where it is required", nil, Bounds{RequireTLS: true}, def, ""},
		{"clear where TLS is required", nil, Bounds{RequireTLS: true}, with(func(r *Relay) { r.UseTLS = false }), "RELAY_REQUIRE_TLS"},
	} {
		err := mustRules(t, nil, c.allow...).Within(c.bound).CheckRelay(c.relay)
		switch {
		case err == nil && c.fault != "":
			t.Errorf("%s is allowed, want %q", c.what, c.fault)
		case err != nil && (c.fault == "" || !strings.Contains(err.Error(), c.fault) || !IsRefusal(err)):
			t.Errorf("%s: %v, want %q", c.what, err, c.fault)
		}
	}
}

// TestBoundsOfTheFinalAddress: what is listed or the default may lead where it
// might without the bounds, and the rest nowhere.
func TestBoundsOfTheFinalAddress(t *testing.T) {
	t.Parallel()
	rules := mustRules(t, nil, "10.20.0.0/16", "relay.agency.example").Within(Bounds{Choice: ListedRelay, Default: Relay{Host: "smtp.example.com"}})
	for _, c := range []struct {
		host, addr string
		allowed    bool
	}{
		{"other.agency.example", "10.20.0.25", false},
		{"other.agency.example", "8.8.8.8", false},
		{"other.agency.example", "2606:4700::1111", false},
		{"relay.agency.example", "8.8.8.8", true},
		{"relay.agency.example", "10.9.9.9", true},
		{"relay.agency.example", "169.254.169.254", false},
		{"smtp.example.com", "8.8.8.8", true},
		{"smtp.example.com", "10.20.0.25", true},
		{"smtp.example.com", "10.9.9.9", false}, // the default relay needs RELAY_ALLOW, too
		{"8.8.8.8", "8.8.8.8", false},
		{"10.20.0.25", "10.20.0.25", true},
	} {
		if err := rules.CheckAddress(c.host, netip.MustParseAddr(c.addr)); (err == nil) != c.allowed {
			t.Errorf("%s at %s: %v", c.host, c.addr, err)
		}
	}
}

// TestDialKeepsTheBounds: they hold for what was accepted before they did.
func TestDialKeepsTheBounds(t *testing.T) {
	t.Parallel()
	def := Relay{Host: "smtp.example.com", Port: 587, UseTLS: true}
	for what, b := range map[string]Bounds{
		"listed":  {Choice: ListedRelay, Default: def},
		"default": {Choice: DefaultRelay, Default: def},
		"TLS":     {RequireTLS: true},
	} {
		_, err := Dial(t.Context(), Relay{Host: "8.8.8.8", Port: 587}, Options{Rules: Rules{}.Within(b)})
		if failure := asError(t, err); !IsRefusal(err) || failure.Scope != ScopeCampaign || failure.Temporary {
			t.Errorf("%s: %v", what, err)
		}
	}
}
