package engine

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"postern/internal/campaign"
)

// metrics are what the engine counts.
type metrics struct {
	deliveries  *prometheus.CounterVec
	campaigns   *prometheus.CounterVec
	leases      prometheus.Gauge
	takeovers   prometheus.Counter
	unrecorded  prometheus.GaugeFunc
	checkpoints prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, w *window) *metrics {
	f := promauto.With(reg)
	return &metrics{
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
			Help: "Messages on their way to a relay, or acknowledged and not yet recorded: what a crash now would repeat at most.",
		}, w.size),
		checkpoints: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "postern_checkpoint_seconds",
			Help:    "Time to record a batch of results, retries included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
	}
}

func (m *metrics) recorded(ds []campaign.Delivery) {
	counts := map[campaign.DeliveryState]int{}
	for i := range ds {
		counts[ds[i].State]++
	}
	for state, n := range counts {
		m.deliveries.WithLabelValues(string(state)).Add(float64(n))
	}
}
