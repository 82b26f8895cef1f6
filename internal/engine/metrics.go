package engine

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"postern/internal/campaign"
)

// metrics are what the engine counts. The label relay is that of the lanes,
// which bound its values.
type metrics struct {
	deliveries  *prometheus.CounterVec
	retries     *prometheus.CounterVec
	campaigns   *prometheus.CounterVec
	leases      prometheus.Gauge
	due         prometheus.Gauge
	backlog     prometheus.Gauge
	takeovers   prometheus.Counter
	unrecorded  prometheus.GaugeFunc
	checkpoints prometheus.Histogram
	counted     prometheus.Counter
	damaged     prometheus.Counter
	attachments attachmentMetrics
}

// attachmentMetrics count octets as files have them, before base64.
type attachmentMetrics struct {
	accepted prometheus.Counter
	octets   *prometheus.CounterVec
	time     *prometheus.HistogramVec
}

// What happens to attachments.
const (
	stepAccepted = "accepted"
	stepLoaded   = "loaded"
	stepSent     = "sent"
)

// Why a recipient is tried again.
const (
	retryDeferred   = "deferred"   // the relay refused it for now
	retryConnection = "connection" // the connection was lost with it
)

func newMetrics(reg prometheus.Registerer, w *window, letters *rooms) *metrics {
	f := promauto.With(reg)
	letters.measure(f)
	m := &metrics{
		deliveries: f.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_deliveries_recorded_total",
			Help: "Recipients whose terminal state this task has recorded.",
		}, []string{"relay", "state"}),
		retries: f.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_retries_total",
			Help: "Recipients to be tried again: deferred by the relay, or put back as a connection was lost.",
		}, []string{"relay", "reason"}),
		campaigns: f.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_campaign_transitions_total",
			Help: "Changes of a campaign's status made by this task.",
		}, []string{"status"}),
		leases: f.NewGauge(prometheus.GaugeOpts{
			Name: "postern_leases_held",
			Help: "Leases of chunks and campaigns that this task holds.",
		}),
		due: f.NewGauge(prometheus.GaugeOpts{
			Name: "postern_leases_due",
			Help: "Leases that are due and that nobody works on, as of this task's last look (2048 at most).",
		}),
		backlog: f.NewGauge(prometheus.GaugeOpts{
			Name: "postern_backlog_recipients",
			Help: "Recipients without a result in the campaigns at work here, split evenly with the other tasks at work on each: the tasks' sum is the whole.",
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
		counted: f.NewCounter(prometheus.CounterOpts{
			Name: "postern_contacts_counted_total",
			Help: "Messages that this task has counted in their contacts' statistics, behind a campaign's end or stop.",
		}),
		damaged: f.NewCounter(prometheus.CounterOpts{
			Name: "postern_damaged_campaigns_met_total",
			Help: "Times that a campaign was passed over whose stored record cannot be read: by a list, a search for a person, or the retention sweep.",
		}),
		attachments: newAttachmentMetrics(f),
	}
	// A counter that begins at 1 has no rate for its first event.
	for _, status := range campaign.Statuses {
		m.campaigns.WithLabelValues(string(status))
	}
	for _, step := range []string{stepAccepted, stepLoaded, stepSent} {
		m.attachments.octets.WithLabelValues(step)
	}
	return m
}

func newAttachmentMetrics(f promauto.Factory) attachmentMetrics {
	return attachmentMetrics{
		accepted: f.NewCounter(prometheus.CounterOpts{
			Name: "postern_attachments_accepted_total",
			Help: "Files of campaigns that this task has accepted.",
		}),
		octets: f.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_attachment_bytes_total",
			Help: "Octets of attachments: accepted with campaigns, loaded for sending, and sent to recipients.",
		}, []string{"step"}),
		time: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "postern_attachment_seconds",
			Help:    "Time to seal and store a campaign with attachments, or to fetch, open and encode them for sending.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"step"}),
	}
}

// relayUsed makes the counters of a relay begin at nought: one that begins at 1
// has no rate for its first event.
func (m *metrics) relayUsed(label string) {
	for _, state := range campaign.DeliveryStates {
		if state.Terminal() {
			m.deliveries.WithLabelValues(label, string(state))
		}
	}
	for _, reason := range []string{retryDeferred, retryConnection} {
		m.retries.WithLabelValues(label, reason)
	}
}

// recorded counts a batch of a run's results.
func (m *metrics) recorded(r *run, ds []campaign.Delivery) {
	counts := map[campaign.DeliveryState]int{}
	for i := range ds {
		counts[ds[i].State]++
	}
	for state, n := range counts {
		m.deliveries.WithLabelValues(r.lane.Label(), string(state)).Add(float64(n))
	}
	if octets := attachmentOctets(r.campaign.Letter); octets > 0 {
		m.attachments.octets.WithLabelValues(stepSent).Add(float64(octets) * float64(counts[campaign.DeliverySent]))
	}
}

func (m *metrics) retried(r *run, reason string) {
	m.retries.WithLabelValues(r.lane.Label(), reason).Inc()
}

// attachmentsStored counts the attachments of a campaign that was accepted.
func (m *metrics) attachmentsStored(l campaign.Letter, began time.Time) {
	m.attachments.accepted.Add(float64(len(l.Attachments)))
	m.attachments.handled(stepAccepted, l, began)
}

// attachmentsLoaded counts the attachments of a letter that is ready to be
// sent.
func (m *metrics) attachmentsLoaded(l campaign.Letter, began time.Time) {
	m.attachments.handled(stepLoaded, l, began)
}

func (m *attachmentMetrics) handled(step string, l campaign.Letter, began time.Time) {
	if len(l.Attachments) == 0 {
		return
	}
	m.octets.WithLabelValues(step).Add(float64(attachmentOctets(l)))
	m.time.WithLabelValues(step).Observe(time.Since(began).Seconds())
}

func attachmentOctets(l campaign.Letter) (octets int64) {
	for i := range l.Attachments {
		octets += l.Attachments[i].Size
	}
	return octets
}
