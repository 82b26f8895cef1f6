package engine

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"postern/internal/campaign"
	"postern/internal/mailer/smtptest"
	"postern/internal/store"
)

// TestBacklog: the tasks' parts of the backlog are the whole together, however
// a campaign's chunks are spread; and nothing is left of it at the end.
func TestBacklog(t *testing.T) {
	t.Parallel()
	const n, first = 6000, 10
	goOn := make(chan struct{})
	var dots atomic.Int64 // of MAIL, some may be called off
	r := newRig(t, rigOptions{shared: true, relay: smtptest.Config{Hook: func(e smtptest.Event) smtptest.Action {
		if e.Stage != smtptest.StageDot || dots.Add(1) <= first {
			return smtptest.Action{}
		}
		return smtptest.Action{}.After(goOn)
	}}})
	other := r.cfg
	other.Owner = "the other task"
	second := newTask(t, r.store, other)
	r.contacts(t, n)
	id := r.submit(t, letter())
	stop, stopSecond := runTask(t, r.Engine), runTask(t, second)

	r.await(t, id, "both tasks to count their halves, and leases that are due: the tasks cannot hold all 12 chunks", func(report Report) bool {
		both := r.claims.othersOn(id) == 1 && second.claims.othersOn(id) == 1
		halves := r.Backlog() == float64(n-first)/2 && second.Backlog() == float64(n-first)/2
		return both && halves && report.Totals.Final && report.Totals.Sent == first && testutil.ToFloat64(r.metrics.due) > 0
	})
	close(goOn)
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.await(t, id, "no backlog", func(Report) bool { return r.Backlog()+second.Backlog() == 0 })
	stop() // what is counted behind the last write is counted then
	stopSecond()
	label := r.cfg.DefaultRelay.Addr()
	recorded := testutil.ToFloat64(r.metrics.deliveries.WithLabelValues(label, "sent")) +
		testutil.ToFloat64(second.metrics.deliveries.WithLabelValues(label, "sent"))
	if recorded != n {
		t.Errorf("%v deliveries were counted; want %d", recorded, n)
	}
}

// TestAttachmentMetrics: octets as files have them, once accepted, once
// loaded, and sent to each recipient.
func TestAttachmentMetrics(t *testing.T) {
	t.Parallel()
	const size, people = 1000, 3
	r := newRig(t, rigOptions{})
	stop := runTask(t, r.Engine)
	r.contacts(t, people)
	s := letter()
	s.Attachments = []File{{Filename: "a.bin", ContentType: "application/octet-stream", Data: make([]byte, size, size+FileRoom)}}
	r.awaitStatus(t, r.submit(t, s), campaign.StatusCompleted)
	stop() // what is counted behind the last write is counted then
	m := r.metrics.attachments
	for step, want := range map[string]float64{"accepted": size, "loaded": size, "sent": size * people} {
		if got := testutil.ToFloat64(m.octets.WithLabelValues(step)); got != want {
			t.Errorf("%v octets %s; want %v", got, step, want)
		}
	}
	if files, steps := testutil.ToFloat64(m.accepted), testutil.CollectAndCount(m.time); files != 1 || steps != 2 {
		t.Errorf("%v files accepted, %d steps timed; want 1 and 2", files, steps)
	}
}

// TestRetryMetrics: a recipient that the relay defers, and one with whom it
// drops the connection.
func TestRetryMetrics(t *testing.T) {
	t.Parallel()
	var deferred, dropped atomic.Bool
	r := newRig(t, rigOptions{relay: smtptest.Config{Hook: func(e smtptest.Event) smtptest.Action {
		switch {
		case e.Stage != smtptest.StageRcpt:
		case e.Rcpt() == address(1) && !deferred.Swap(true):
			return smtptest.Reply("450 4.2.1 later")
		case e.Rcpt() == address(2) && !dropped.Swap(true):
			return smtptest.Close()
		}
		return smtptest.Action{}
	}}})
	runTask(t, r.Engine)
	r.contacts(t, 20)
	r.awaitStatus(t, r.submit(t, letter()), campaign.StatusCompleted)
	label := r.cfg.DefaultRelay.Addr()
	for reason, want := range map[string]float64{retryDeferred: 1, retryConnection: 1} {
		if got := testutil.ToFloat64(r.metrics.retries.WithLabelValues(label, reason)); got < want {
			t.Errorf("%v retries for %s; want at least %v", got, reason, want)
		}
	}
}

// TestRelayCountersBeginAtNought: with the first message of a relay, everything
// that may happen to further ones is counted as none.
func TestRelayCountersBeginAtNought(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	stop := runTask(t, r.Engine)
	r.contacts(t, 1)
	r.awaitStatus(t, r.submit(t, letter()), campaign.StatusCompleted)
	stop() // what is counted behind the last write is counted then
	const deliveries = `
# HELP postern_deliveries_recorded_total Recipients whose terminal state this task has recorded.
# TYPE postern_deliveries_recorded_total counter
postern_deliveries_recorded_total{relay="RELAY",state="failed"} 0
postern_deliveries_recorded_total{relay="RELAY",state="sent"} 1
postern_deliveries_recorded_total{relay="RELAY",state="suppressed"} 0
postern_deliveries_recorded_total{relay="RELAY",state="unknown"} 0
`
	const retries = `
# HELP postern_retries_total Recipients to be tried again: deferred by the relay, or put back as a connection was lost.
# TYPE postern_retries_total counter
postern_retries_total{reason="connection",relay="RELAY"} 0
postern_retries_total{reason="deferred",relay="RELAY"} 0
`
	for want, counters := range map[string]prometheus.Collector{deliveries: r.metrics.deliveries, retries: r.metrics.retries} {
		want = strings.ReplaceAll(want, "RELAY", r.cfg.DefaultRelay.Addr())
		if err := testutil.CollectAndCompare(counters, strings.NewReader(want)); err != nil {
			t.Error(err)
		}
	}
}

// TestOthers counts tasks, not leases.
func TestOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	for number, owner := range map[int]string{1: "a", 2: "a", 3: "b"} {
		key := store.LeaseKey{CampaignID: "c", Number: number}
		r.claims.seen[key] = sighting{owner: owner, asked: time.Now()}
	}
	r.noteOthers()
	if c, d := r.claims.othersOn("c"), r.claims.othersOn("d"); c != 2 || d != 0 {
		t.Errorf("%d and %d others; want 2 and 0", c, d)
	}
}
