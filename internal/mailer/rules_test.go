package mailer

import (
	"net/netip"
	"strings"
	"testing"
)

func mustRules(t testing.TB, ports []int, allow ...string) Rules {
	t.Helper()
	r, err := ParseRules(allow, ports)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCheckHost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		host  string
		allow string // one entry of RELAY_ALLOW
		fault string // what the error must say; "" for allowed
	}{
		{"smtp.example.com", "", ""},
		{"smtp.example.com.", "", ""},
		{"8.8.8.8", "", ""},
		{"2606:4700::1111", "", ""},
		{"::ffff:8.8.8.8", "", ""},
		{"64:ff9b::808:808", "", ""},

		{"127.0.0.1", "", "RELAY_ALLOW"},
		{"::1", "", "RELAY_ALLOW"},
		{"localhost", "", "RELAY_ALLOW"},
		{"a.LOCALHOST.", "", "RELAY_ALLOW"},
		{"10.1.2.3", "", "private"},
		{"172.31.255.255", "", "private"},
		{"192.168.1.1", "", "private"},
		{"100.64.0.1", "", "carrier-private"},
		{"fd12::1", "", "private"},
		{"0.1.2.3", "", "special-purpose"},
		{"192.0.0.8", "", "special-purpose"},
		{"198.19.255.255", "", "benchmarks"},
		{"203.0.113.9", "", "documentation"},
		{"2001:db8::1", "", "documentation"},
		{"240.0.0.1", "", "reserved"},
		{"::ffff:10.0.0.1", "", "private"},
		{"64:ff9b::a00:1", "", "private"},
		{"2002:a00:1::1", "", "private"},
		{"::7f00:1", "", "special-purpose"},
		{"::ffff:0:808:808", "", ""},
		{"::ffff:0:a00:1", "", "private"},
		{"::ffff:0:7f00:1", "", "loopback"},
		{"64:ff9b:1::808:808", "", "private"},
		{"2001:0:808:808::1", "", "special-purpose"},
		{"2620:4f:8000::1", "", "special-purpose"},
		{"100:0:0:1::1", "", "2000::/3"},
		{"4000::1", "", "2000::/3"},
		{"1fff::1", "", "2000::/3"},
		{"4000::1", "4000::/16", ""},
		{"3ffe::1", "", ""},

		{"0.0.0.0", "0.0.0.0/0", "never"},
		{"::", "::/0", "never"},
		{"169.254.169.254", "0.0.0.0/0", "never"},
		{"169.254.170.2", "0.0.0.0/0", "never"},
		{"fd00:ec2::254", "::/0", "never"},
		{"fe80::1", "::/0", "never"},
		{"fe80::1%eth0", "::/0", "never"},
		{"10.0.0.1%eth0", "", "host"}, // no address and no name
		{"224.0.0.1", "0.0.0.0/0", "never"},
		{"ff02::1", "::/0", "never"},
		{"255.255.255.255", "0.0.0.0/0", "never"},
		{"168.63.129.16", "", "never"},
		{"100.100.100.200", "0.0.0.0/0", "never"},
		{"::ffff:169.254.169.254", "0.0.0.0/0", "never"},
		{"64:ff9b::a9fe:a9fe", "0.0.0.0/0", "never"},
		{"2002:a9fe:a9fe::", "0.0.0.0/0", "never"},
		{"::ffff:0:a9fe:a9fe", "::/0", "never"},
		{"::a9fe:a9fe", "::/0", "never"},
		{"64:ff9b:1::a9fe:a9fe", "::/0", "never"},
		{"64:ff9b:1:a9fe:a9:fe00::", "::/0", "never"},
		{"64:ff9b:1:a9:fe:a9fe::", "::/0", "never"},
		{"64:ff9b:1:0:a9:fea9:fe00:0", "::/0", "never"},
		{"2001:0:a9fe:a9fe::1", "::/0", "never"},
		{"2001::5601:5601", "::/0", "never"},
		{"fd20:ce::254", "fc00::/7", "never"},
		{"fd20:ce::253", "fc00::/7", ""},

		{"2852039166", "0.0.0.0/0", "usual form"},
		{"0xA9FEA9FE", "0.0.0.0/0", "usual form"},
		{"0251.0376.0251.0376", "0.0.0.0/0", "usual form"},
		{"127.1", "0.0.0.0/0", "usual form"},
		{"1.2.3.0x4", "0.0.0.0/0", "usual form"},
		{"0x", "0.0.0.0/0", "usual form"},
		{"", "", "1 to 253"},
		{"a..b", "", "labels"},
		{"-a.test", "", "hyphen"},
		{"a b.test", "", `' '`},
		{"a\r\nb.test", "", `'\r'`},
		{"bücher.example", "", "xn--"},
		{"[::1]", "", `'['`},

		{"10.1.2.3", "10.0.0.0/8", ""},
		{"::ffff:10.1.2.3", "10.0.0.0/8", ""},
		{"10.1.2.3", "10.1.2.4", "private"},
		{"10.1.2.3", "10.1.2.3", ""},
		{"10.1.2.3", "::ffff:10.1.2.3", ""},
		{"127.0.0.1", "127.0.0.1/32", ""},
		{"localhost", "127.0.0.1/32", ""},
		{"localhost", "Localhost.", ""},
		{"other.localhost", "localhost", "RELAY_ALLOW"},
	} {
		var allow []string
		if c.allow != "" {
			allow = append(allow, c.allow)
		}
		err := mustRules(t, nil, allow...).CheckHost(c.host)
		switch {
		case err == nil && c.fault != "":
			t.Errorf("%q with %q is allowed, want %q", c.host, c.allow, c.fault)
		case err != nil && (c.fault == "" || !strings.Contains(err.Error(), c.fault)):
			t.Errorf("%q with %q: %v, want %q", c.host, c.allow, err, c.fault)
		}
	}
}

func TestCheckPort(t *testing.T) {
	t.Parallel()
	if err := (Rules{}).CheckRelay(Relay{Host: "smtp.example.com", Port: 587}); err != nil {
		t.Error(err)
	}
	err := Rules{}.CheckRelay(Relay{Host: "smtp.example.com", Port: 25})
	if err == nil || !strings.Contains(err.Error(), "RELAY_PORTS") {
		t.Errorf("port 25: %v", err)
	}
	if err := mustRules(t, []int{25}).CheckPort(25); err != nil {
		t.Error(err)
	}
}

func TestParseRulesRefuses(t *testing.T) {
	t.Parallel()
	for entry, fault := range map[string]string{
		"10.0.0.0/33":        "CIDR",
		"":                   "1 to 253",
		"smtp relay":         `' '`,
		"169.254.169.254":    "never",
		"169.254.0.0/16":     "never",
		"fe80::/10":          "never",
		"fd00:ec2::254/128":  "never",
		"fd20:ce::254":       "never",
		"::ffff:0:a9fe:a9fe": "never",
		"100.100.100.200/32": "never",
	} {
		_, err := ParseRules([]string{"10.0.0.0/8", entry}, nil)
		if err == nil || !strings.Contains(err.Error(), "RELAY_ALLOW") || !strings.Contains(err.Error(), fault) {
			t.Errorf("%q: %v, want %q", entry, err, fault)
		}
	}
	if _, err := ParseRules(nil, []int{587, 65536}); err == nil || !strings.Contains(err.Error(), "RELAY_PORTS") {
		t.Errorf("port 65536: %v", err)
	}
}

// An allowed name may lead to a private address, never to a metadata service.
func TestCheckAddrOfAllowedName(t *testing.T) {
	t.Parallel()
	rules := mustRules(t, nil, "relay.internal")
	for _, c := range []struct {
		host, addr string
		allowed    bool
	}{
		{"relay.internal", "10.0.0.5", true},
		{"Relay.Internal.", "127.0.0.1", true},
		{"relay.internal", "169.254.169.254", false},
		{"relay.internal", "fd00:ec2::254", false},
		{"relay.internal", "fd20:ce::254", false},
		{"relay.internal", "64:ff9b:1::a9fe:a9fe", false},
		{"relay.internal", "::ffff:0:a9fe:a9fe", false},
		{"relay.internal", "2001:0:a9fe:a9fe::1", false},
		{"other.internal", "10.0.0.5", false},
		{"other.internal", "1.1.1.1", true},
	} {
		err := rules.checkAddr(c.host, netip.MustParseAddr(c.addr))
		if (err == nil) != c.allowed {
			t.Errorf("%s at %s: %v", c.host, c.addr, err)
		}
	}
}

// TestRefusalsTellNoAddresses: a name may be of somebody's network; whoever
// writes an address knows it.
func TestRefusalsTellNoAddresses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"10.0.0.5", "169.254.169.254", "127.0.0.1", "fd00:ec2::254"} {
		addr := netip.MustParseAddr(address)
		if err := (Rules{}).checkAddr("db.internal", addr); err == nil || strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "db.internal") {
			t.Errorf("behind a name: %v", err)
		}
		if err := (Rules{}).checkAddr(address, addr); err == nil || !strings.Contains(err.Error(), address) {
			t.Errorf("as it was asked for: %v", err)
		}
	}
}

func FuzzCheckHost(f *testing.F) {
	for _, seed := range []string{"smtp.example.com", "127.0.0.1", "2852039166", "0x7f.1", "::1", "fe80::1%1", "a\r\nb", "::ffff:0:a9fe:a9fe", "64:ff9b::808:808", "4000::1"} {
		f.Add(seed)
	}
	rules := Rules{}
	f.Fuzz(func(t *testing.T, host string) {
		if rules.CheckHost(host) != nil {
			return
		}
		if strings.ContainsAny(host, " \r\n\x00[]/%") {
			t.Errorf("%q is allowed", host)
		}
		addr, err := netip.ParseAddr(host)
		if err != nil {
			return
		}
		inner := addr.Unmap()
		if b := addr.As16(); !inner.Is4() && b[0]>>5 != 1 { // not in 2000::/3, so what counts is inside
			inner = netip.AddrFrom4([4]byte(b[12:]))
		}
		if inner.IsPrivate() || inner.IsLoopback() || inner.IsLinkLocalUnicast() || inner.IsMulticast() || inner.IsUnspecified() {
			t.Errorf("%q is allowed", host)
		}
	})
}
