package lane

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"postern/internal/mailer"
	"postern/internal/mailer/smtptest"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	k := start(t, setting{
		connections: 3, relay: smtptest.Config{Hook: smtptest.RefuseRecipient("l-7@rcpt.test")},
		change: func(c *Config, _ *mailer.Relay) { c.Registerer = reg },
	})
	expect := func(names []string, want string) {
		t.Helper()
		want = strings.ReplaceAll(want, "RELAY", k.Relay().Addr())
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), names...); err != nil {
			t.Error(err)
		}
	}
	gauges := []string{"postern_relay_concurrency_limit", "postern_relay_gate_open"}
	expect(gauges, `
# HELP postern_relay_concurrency_limit Connections that the relay seems to bear; adapts below the cap.
# TYPE postern_relay_concurrency_limit gauge
postern_relay_concurrency_limit{relay="RELAY"} 1
# HELP postern_relay_gate_open 1 while messages go to the relay; 0 while it is tried by single probes.
# TYPE postern_relay_gate_open gauge
postern_relay_gate_open{relay="RELAY"} 0
`)
	g := k.Join("c")
	l := newList("l", 30)
	detach := g.Attach(l)
	l.wait(t)
	detach()
	g.Leave()
	expect(append(gauges, "postern_attempts_total", "postern_smtp_failures_total", "postern_smtp_auth_failures_total"), `
# HELP postern_attempts_total Attempts to hand a message to a relay, by outcome: sent, or the scope of the failure and whether it may pass.
# TYPE postern_attempts_total counter
postern_attempts_total{outcome="campaign_permanent",relay="RELAY"} 0
postern_attempts_total{outcome="campaign_temporary",relay="RELAY"} 0
postern_attempts_total{outcome="other",relay="RELAY"} 0
postern_attempts_total{outcome="recipient_permanent",relay="RELAY"} 1
postern_attempts_total{outcome="recipient_temporary",relay="RELAY"} 0
postern_attempts_total{outcome="relay_permanent",relay="RELAY"} 0
postern_attempts_total{outcome="relay_temporary",relay="RELAY"} 0
postern_attempts_total{outcome="sent",relay="RELAY"} 29
postern_attempts_total{outcome="session_permanent",relay="RELAY"} 0
postern_attempts_total{outcome="session_temporary",relay="RELAY"} 0
# HELP postern_relay_concurrency_limit Connections that the relay seems to bear; adapts below the cap.
# TYPE postern_relay_concurrency_limit gauge
postern_relay_concurrency_limit{relay="RELAY"} 3
# HELP postern_relay_gate_open 1 while messages go to the relay; 0 while it is tried by single probes.
# TYPE postern_relay_gate_open gauge
postern_relay_gate_open{relay="RELAY"} 1
# HELP postern_smtp_auth_failures_total Failures of AUTH, and refusals of a command for want of it (530, 534, 535, 538).
# TYPE postern_smtp_auth_failures_total counter
postern_smtp_auth_failures_total{relay="RELAY"} 0
# HELP postern_smtp_failures_total Failures on the way to or at a relay, by the stage of the session.
# TYPE postern_smtp_failures_total counter
postern_smtp_failures_total{relay="RELAY",stage="auth"} 0
postern_smtp_failures_total{relay="RELAY",stage="content"} 0
postern_smtp_failures_total{relay="RELAY",stage="data"} 0
postern_smtp_failures_total{relay="RELAY",stage="dial"} 0
postern_smtp_failures_total{relay="RELAY",stage="dot"} 0
postern_smtp_failures_total{relay="RELAY",stage="greeting"} 0
postern_smtp_failures_total{relay="RELAY",stage="hello"} 0
postern_smtp_failures_total{relay="RELAY",stage="letter"} 0
postern_smtp_failures_total{relay="RELAY",stage="mail"} 0
postern_smtp_failures_total{relay="RELAY",stage="rcpt"} 1
postern_smtp_failures_total{relay="RELAY",stage="tls"} 0
`)
	k.rest(t)
	standing := k.relay.Stats().InUse
	expect([]string{"postern_relay_connections", "postern_relay_connections_granted", "postern_smtp_connections_opened_total"}, fmt.Sprintf(`
# HELP postern_relay_connections Connections to the relay that this task has.
# TYPE postern_relay_connections gauge
postern_relay_connections{relay="RELAY"} %d
# HELP postern_relay_connections_granted Connections of the relay's budget that this task may have now.
# TYPE postern_relay_connections_granted gauge
postern_relay_connections_granted{relay="RELAY"} 3
# HELP postern_smtp_connections_opened_total Sessions opened with a relay, TLS and authentication included.
# TYPE postern_smtp_connections_opened_total counter
postern_smtp_connections_opened_total{relay="RELAY"} %d
`, standing, standing))
	k.close()
	if n, err := testutil.GatherAndCount(reg, "postern_relay_gate_open"); n != 0 || err != nil {
		t.Errorf("a lane that is closed has %d gauges; %v", n, err)
	}
}

func TestFewRelaysHaveALabelOfTheirOwn(t *testing.T) {
	t.Parallel()
	m := newMetrics(&Lanes{})
	for i := range maxRelayLabels {
		r := mailer.Relay{Host: fmt.Sprintf("relay%d.test", i), Port: 25}
		if label := m.relayLabel(r); label != r.Addr() {
			t.Errorf("label %s of relay %s", label, r.Addr())
		}
	}
	if label := m.relayLabel(mailer.Relay{Host: "more.test", Port: 25}); label != "other" {
		t.Errorf("label %s of one relay too many", label)
	}
	if label := m.relayLabel(mailer.Relay{Host: "relay0.test", Port: 25, Username: "u"}); label != "relay0.test:25" {
		t.Errorf("label %s of a relay that has one", label)
	}
}

// TestAuthFailures: refused credentials count, wherever the relay says so.
func TestAuthFailures(t *testing.T) {
	t.Parallel()
	m := newMetrics(&Lanes{})
	o := m.observer("relay.test:587")
	for _, e := range []*mailer.Error{
		{Stage: mailer.StageAuth, Code: 535}, {Stage: mailer.StageAuth}, {Stage: mailer.StageMail, Code: 530},
		{Stage: mailer.StageRcpt, Code: 550}, {Stage: mailer.StageDial},
	} {
		o.Failed(e)
	}
	if n := testutil.ToFloat64(m.refusals.WithLabelValues("relay.test:587")); n != 3 {
		t.Errorf("%v authentication failures were counted; want 3", n)
	}
}
