package bolt

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"postern/internal/campaign"
)

// Operations, as the label has them.
const (
	opView   = "view"
	opUpdate = "update"
)

// metrics are what transactions take.
type metrics struct {
	calls   *prometheus.HistogramVec
	commits prometheus.Histogram
	writes  prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, path string) *metrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postern_store_file_bytes",
		Help: "Size of the embedded store's file.",
	}, func() float64 { return size(path) })
	return &metrics{
		calls: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "postern_store_call_duration_seconds",
			Help:    "Time of a call of the store, retries included, by operation and outcome.",
			Buckets: prometheus.ExponentialBuckets(.0001, 3, 12),
		}, []string{"operation", "outcome"}),
		commits: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "postern_store_commit_duration_seconds",
			Help:    "Time of a transaction of the embedded store, until it is synced to the disk.",
			Buckets: prometheus.ExponentialBuckets(.0001, 3, 12),
		}),
		writes: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "postern_store_commit_writes",
			Help:    "Writes that share a transaction of the embedded store.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
	}
}

// size of the file; 0 when it cannot be told.
func size(path string) float64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return float64(info.Size())
}

// called notes a call that began at began.
func (m *metrics) called(operation string, began time.Time, err error) {
	m.calls.WithLabelValues(operation, outcomeOf(err)).Observe(time.Since(began).Seconds())
}

// outcomeOf keeps the label's values few. What the contract lets a caller meet,
// such as a lost lease, is refused, which is no fault.
func outcomeOf(err error) string {
	switch code := campaign.CodeOf(err); {
	case err == nil:
		return "ok"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "cancelled"
	case code == campaign.CodeUnavailable, code == campaign.CodeInternal:
		return "error"
	default:
		return "refused"
	}
}

// committed notes a transaction of so many writes.
func (m *metrics) committed(writes int, began time.Time) {
	m.commits.Observe(time.Since(began).Seconds())
	m.writes.Observe(float64(writes))
}
