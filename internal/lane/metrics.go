package lane

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"postern/internal/budget"
	"postern/internal/mailer"
)

// metrics are what lanes count.
type metrics struct {
	attempts    *prometheus.CounterVec
	connections *prometheus.CounterVec
	failures    *prometheus.CounterVec
	refusals    *prometheus.CounterVec
	daysOver    *prometheus.CounterVec
	replies     *prometheus.HistogramVec

	mu     sync.Mutex
	relays map[string]struct{} // that have a label of their own
}

func newMetrics(ls *Lanes) *metrics {
	f := promauto.With(ls.cfg.Registerer)
	if ls.cfg.Registerer != nil {
		ls.cfg.Registerer.MustRegister(newGauges(ls))
	}
	return &metrics{
		relays: map[string]struct{}{},
		attempts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_attempts_total",
			Help: "Attempts to hand a message to a relay, by outcome: sent, or the scope of the failure and whether it may pass.",
		}, []string{"relay", "outcome"}),
		connections: f.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_smtp_connections_opened_total",
			Help: "Sessions opened with a relay, TLS and authentication included.",
		}, []string{"relay"}),
		failures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_smtp_failures_total",
			Help: "Failures on the way to or at a relay, by the stage of the session.",
		}, []string{"relay", "stage"}),
		refusals: f.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_smtp_auth_failures_total",
			Help: "Failures of AUTH, and refusals of a command for want of it (530, 534, 535, 538).",
		}, []string{"relay"}),
		daysOver: f.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_relay_day_exhausted_total",
			Help: "How often a relay was found to have had its messages of the day (RELAY_DAILY_LIMIT) while there were more.",
		}, []string{"relay"}),
		replies: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "postern_smtp_reply_seconds",
			Help:    "Time until a relay's reply, by the stage of the session.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 10),
		}, []string{"relay", "stage"}),
	}
}

// relayObserver counts what happens in one relay's sessions.
type relayObserver struct {
	opened   prometheus.Counter
	failures *prometheus.CounterVec
	refusals prometheus.Counter
	// replies has the stages of a message, which are looked up for each.
	replies map[mailer.Stage]prometheus.Observer
}

func (m *metrics) observer(relayLabel string) mailer.Observer {
	o := relayObserver{
		opened:   m.connections.WithLabelValues(relayLabel),
		failures: m.failures.MustCurryWith(prometheus.Labels{"relay": relayLabel}),
		refusals: m.refusals.WithLabelValues(relayLabel),
		replies:  map[mailer.Stage]prometheus.Observer{},
	}
	// A counter that begins at 1 has no rate for its first event.
	m.daysOver.WithLabelValues(relayLabel)
	for _, outcome := range outcomes() {
		m.attempts.WithLabelValues(relayLabel, outcome)
	}
	for _, s := range []mailer.Stage{
		mailer.StageDial, mailer.StageGreeting, mailer.StageHello, mailer.StageTLS, mailer.StageAuth, mailer.StageMail,
		mailer.StageRcpt, mailer.StageData, mailer.StageContent, mailer.StageDot, mailer.StageLetter,
	} {
		o.failures.WithLabelValues(string(s))
	}
	for _, s := range []mailer.Stage{
		mailer.StageGreeting, mailer.StageHello, mailer.StageTLS, mailer.StageAuth,
		mailer.StageMail, mailer.StageRcpt, mailer.StageData, mailer.StageDot,
	} {
		o.replies[s] = m.replies.WithLabelValues(relayLabel, string(s))
	}
	return o
}

func (o relayObserver) ConnectionOpened() { o.opened.Inc() }

func (o relayObserver) Failed(e *mailer.Error) {
	o.failures.WithLabelValues(string(e.Stage)).Inc()
	if e.Stage == mailer.StageAuth || slices.Contains(authCodes, e.Code) {
		o.refusals.Inc()
	}
}

// authCodes are the replies of RFC 4954 section 6 to a command that needs AUTH
// to have succeeded.
var authCodes = []int{530, 534, 535, 538}

func (o relayObserver) Replied(s mailer.Stage, d time.Duration) {
	if replies, known := o.replies[s]; known {
		replies.Observe(d.Seconds())
	}
}

// maxRelayLabels bounds the values of the label relay, which callers choose;
// further relays are counted together.
const maxRelayLabels = 32

// relayLabel is the relay's address while there are few, then "other".
func (m *metrics) relayLabel(r mailer.Relay) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	addr := r.Addr()
	if _, known := m.relays[addr]; !known {
		if len(m.relays) >= maxRelayLabels {
			return "other"
		}
		m.relays[addr] = struct{}{}
	}
	return addr
}

// sent counts a relay's acknowledged messages.
func (m *metrics) sent(relayLabel string) prometheus.Counter {
	return m.attempts.WithLabelValues(relayLabel, outcomeSent)
}

func (m *metrics) failed(relayLabel string, err error) {
	m.attempts.WithLabelValues(relayLabel, outcomeLabel(err)).Inc()
}

// Values of the label outcome, besides those of scopes.
const (
	outcomeSent  = "sent"
	outcomeOther = "other"
)

// outcomes are all values of the label outcome.
func outcomes() []string {
	all := []string{outcomeSent, outcomeOther}
	for _, s := range []mailer.Scope{mailer.ScopeRecipient, mailer.ScopeSession, mailer.ScopeRelay, mailer.ScopeCampaign} {
		all = append(all, scopeLabel(s, true), scopeLabel(s, false))
	}
	return all
}

// outcomeLabel keeps the label's values few.
func outcomeLabel(err error) string {
	me, ok := errors.AsType[*mailer.Error](err)
	if !ok {
		return outcomeOther
	}
	return scopeLabel(me.Scope, me.Temporary)
}

func scopeLabel(s mailer.Scope, temporary bool) string {
	if temporary {
		return string(s) + "_temporary"
	}
	return string(s) + "_permanent"
}

// gauges tell how the lanes are at the moment. Lanes with the same label are
// added up.
type gauges struct {
	lanes *Lanes

	limit, connections, granted, open *prometheus.Desc
}

func newGauges(ls *Lanes) *gauges {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"relay"}, nil)
	}
	return &gauges{
		lanes:       ls,
		limit:       desc("postern_relay_concurrency_limit", "Connections that the relay seems to bear; adapts below the cap."),
		connections: desc("postern_relay_connections", "Connections to the relay that this task has."),
		granted:     desc("postern_relay_connections_granted", "Connections of the relay's budget that this task may have now."),
		open:        desc("postern_relay_gate_open", "1 while messages go to the relay; 0 while it is tried by single probes."),
	}
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.limit, g.connections, g.granted, g.open} {
		out <- d
	}
}

// relayState is what the gauges show of one label.
type relayState struct {
	limit, connections, granted int
	open                        bool
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	for label, s := range g.states() {
		gauge := func(d *prometheus.Desc, v float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label)
		}
		gauge(g.limit, float64(s.limit))
		gauge(g.connections, float64(s.connections))
		gauge(g.granted, float64(s.granted))
		open := 0.0
		if s.open {
			open = 1
		}
		gauge(g.open, open)
	}
}

func (g *gauges) states() map[string]relayState {
	states := map[string]relayState{}
	counted := map[*budget.Share]bool{}
	for _, l := range g.lanes.all() {
		s, found := states[l.label]
		limit, standing, open := l.state()
		s.limit += limit
		s.connections += standing
		s.open = open && (s.open || !found)
		if !counted[l.share] {
			counted[l.share] = true
			s.granted += l.share.Stats().Connections
		}
		states[l.label] = s
	}
	return states
}
