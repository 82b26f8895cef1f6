package engine

import (
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"postern/internal/campaign"
	"postern/internal/mailer"
)

// metrics are what the engine counts.
type metrics struct {
	attempts    *prometheus.CounterVec
	deliveries  *prometheus.CounterVec
	campaigns   *prometheus.CounterVec
	leases      prometheus.Gauge
	takeovers   prometheus.Counter
	unrecorded  prometheus.GaugeFunc
	checkpoints prometheus.Histogram

	connections *prometheus.CounterVec
	failures    *prometheus.CounterVec
	replies     *prometheus.HistogramVec

	mu     sync.Mutex
	relays map[string]struct{} // that have a label of their own
}

func newMetrics(reg prometheus.Registerer, w *window) *metrics {
	f := promauto.With(reg)
	return &metrics{
		relays: map[string]struct{}{},
		attempts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_attempts_total",
			Help: "Attempts to hand a message to a relay, by outcome: sent, or the scope of the failure and whether it may pass.",
		}, []string{"relay", "outcome"}),
		deliveries: f.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_deliveries_recorded_total",
			Help: "Recipients whose terminal state this task has recorded.",
		}, []string{"state"}),
		campaigns: f.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_campaign_transitions_total",
			Help: "Changes of a campaign's status made by this task.",
		}, []string{"status"}),
		leases: f.NewGauge(prometheus.GaugeOpts{
			Name: "postern_leases_held",
			Help: "Leases of chunks and campaigns that this task holds.",
		}),
		takeovers: f.NewCounter(prometheus.CounterOpts{
			Name: "postern_lease_takeovers_total",
			Help: "Leases taken over from an owner that did not renew them.",
		}),
		unrecorded: f.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "postern_unrecorded_messages",
			Help: "Messages that a relay has acknowledged and the store has not yet recorded.",
		}, w.size),
		checkpoints: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "postern_checkpoint_seconds",
			Help:    "Time to record a batch of results, retries included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		connections: f.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_smtp_connections_opened_total",
			Help: "Sessions opened with a relay, TLS and authentication included.",
		}, []string{"relay"}),
		failures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_smtp_failures_total",
			Help: "Failures on the way to or at a relay, by the stage of the session. Stage auth counts refused credentials.",
		}, []string{"relay", "stage"}),
		replies: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "postern_smtp_reply_seconds",
			Help:    "Time until a relay's reply, by the stage of the session.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 10),
		}, []string{"relay", "stage"}),
	}
}

// relayObserver counts what happens in one relay's sessions.
type relayObserver struct {
	metrics *metrics
	relay   string
}

func (m *metrics) observer(relayLabel string) mailer.Observer { return relayObserver{m, relayLabel} }

func (o relayObserver) ConnectionOpened() { o.metrics.connections.WithLabelValues(o.relay).Inc() }

func (o relayObserver) Failed(e *mailer.Error) {
	o.metrics.failures.WithLabelValues(o.relay, string(e.Stage)).Inc()
}

func (o relayObserver) Replied(s mailer.Stage, d time.Duration) {
	o.metrics.replies.WithLabelValues(o.relay, string(s)).Observe(d.Seconds())
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

func (m *metrics) attempt(relayLabel string, err error) {
	m.attempts.WithLabelValues(relayLabel, outcomeLabel(err)).Inc()
}

func (m *metrics) recorded(ds []campaign.Delivery) {
	for i := range ds {
		m.deliveries.WithLabelValues(string(ds[i].State)).Inc()
	}
}

// outcomeLabel keeps the label's values few.
func outcomeLabel(err error) string {
	if err == nil {
		return "sent"
	}
	me, ok := errors.AsType[*mailer.Error](err)
	if !ok {
		return "other"
	}
	if me.Temporary {
		return string(me.Scope) + "_temporary"
	}
	return string(me.Scope) + "_permanent"
}
