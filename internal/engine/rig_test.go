package engine

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"postern/internal/budget"
	"postern/internal/campaign"
	"postern/internal/mailer"
	"postern/internal/mailer/smtptest"
	"postern/internal/seal"
	"postern/internal/store"
	"postern/internal/store/bolt"
)

// patience is how long a test waits for what must happen before it fails.
const patience = 3 * time.Minute

// rig is an engine on the embedded store, with a relay of its own as the
// default one.
type rig struct {
	*Engine

	store store.Store
	relay *smtptest.Server
	clock *clock
}

// rigOptions are what a test wants otherwise.
type rigOptions struct {
	relay  smtptest.Config
	config func(*Config)
	// wrap stands between the engine and its store.
	wrap func(store.Store) store.Store
	// shared: there will be other tasks.
	shared bool
}

// clock is the wall clock, moved ahead.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().UTC().Add(time.Duration(c.ahead.Load())) }

func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// toNoon moves on to the next noon in UTC, for tests that must not run into
// another day.
func (c *clock) toNoon() {
	now := c.now()
	noon := now.Truncate(24 * time.Hour).Add(12 * time.Hour)
	if noon.Before(now) {
		noon = noon.Add(24 * time.Hour)
	}
	c.advance(noon.Sub(now))
}

// newRig makes an engine that does nothing until it is run.
func newRig(t *testing.T, o rigOptions) *rig {
	t.Helper()
	s, err := bolt.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	relay := startRelay(t, o.relay)
	r := &rig{store: s, relay: relay, clock: &clock{}}
	if o.wrap != nil {
		r.store = o.wrap(s)
	}
	cfg := r.config(t, o)
	cfg.ExclusiveStore = !o.shared
	r.Engine = newTask(t, r.store, cfg)
	return r
}

func startRelay(t *testing.T, cfg smtptest.Config) *smtptest.Server {
	t.Helper()
	relay, err := smtptest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Close)
	return relay
}

func (r *rig) config(t *testing.T, o rigOptions) Config {
	t.Helper()
	rules, err := mailer.ParseRules([]string{"127.0.0.1"}, []int{r.relay.Port()})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		DefaultRelay:       mailer.Relay{Host: r.relay.Host(), Port: r.relay.Port(), UseTLS: o.relay.TLS != smtptest.NoTLS},
		Session:            mailer.Options{Rules: rules, RootCAs: r.relay.RootCAs()},
		Caps:               budget.Caps{Connections: 4},
		Retry:              RetryPolicy{Min: 20 * time.Millisecond, Max: 100 * time.Millisecond, For: time.Hour},
		MaxAttachmentBytes: 1 << 20,
		PollEvery:          20 * time.Millisecond,
		Now:                r.clock.now,
	}
	if o.config != nil {
		o.config(&cfg)
	}
	return cfg
}

func newTask(t *testing.T, s store.Store, cfg Config) *Engine {
	t.Helper()
	sealer, err := seal.New(slices.Repeat([]byte{7}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return New(s, cfg, sealer, zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel), prometheus.NewRegistry())
}

// runTask runs a task until stop or the end of the test.
func runTask(t *testing.T, e *Engine) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan bool, 1)
	go func() { ended <- e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if clean := <-ended; !clean {
			t.Error("the stop was not clean")
		}
	})
	t.Cleanup(stop)
	return stop
}

// holdBehind lets a relay answer the first n MAIL, and those behind them when
// the channel is closed: however slow the test is, no campaign of more
// recipients is over before.
func holdBehind(n int64, goOn <-chan struct{}) smtptest.Hook {
	var begun atomic.Int64
	return func(e smtptest.Event) smtptest.Action {
		if e.Stage != smtptest.StageMail || begun.Add(1) <= n {
			return smtptest.Action{}
		}
		return smtptest.Action{}.After(goOn)
	}
}

func address(i int) string { return "r" + strconv.Itoa(i) + "@example.org" }

// contacts makes n contacts.
func (r *rig) contacts(t *testing.T, n int) {
	t.Helper()
	changes := make([]campaign.ContactChange, n)
	for i := range changes {
		changes[i] = campaign.ContactChange{Address: address(i)}
	}
	if err := r.UpsertContacts(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
}

func letter() Submission {
	return Submission{
		Name: "test", Subject: "Hello", HTML: "<p>Hello</p>", From: campaign.Mailbox{Address: "office@example.org"},
	}
}

// submit hands a campaign in and gives its id.
func (r *rig) submit(t *testing.T, s Submission) string {
	t.Helper()
	report, created, err := r.Submit(t.Context(), s)
	if err != nil || !created {
		t.Fatalf("Submit: created %v, %v", created, err)
	}
	return report.Campaign.ID
}

// await polls the campaign until it is as wanted, and holds each answer to the
// ledger: nobody is counted as sent whom the relay does not have.
func (r *rig) await(t *testing.T, id, what string, wanted func(Report) bool) Report {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); ; <-ticker.C {
		got, err := r.Report(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if taken := r.relay.Count(); got.Totals.Sent > int64(taken) {
			t.Errorf("%d are counted as sent, the relay has taken %d", got.Totals.Sent, taken)
		}
		if wanted(got) {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s; the campaign is %+v, %+v", what, got.Campaign, got.Totals)
		}
	}
}

func (r *rig) awaitStatus(t *testing.T, id string, s campaign.Status) Report {
	t.Helper()
	return r.await(t, id, string(s), func(got Report) bool { return got.Campaign.Status == s })
}

// awaitIdle waits until no task works on anything.
func (r *rig) awaitIdle(t *testing.T) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); ; <-ticker.C {
		due, err := r.store.DueLeases(t.Context(), r.clock.now().Add(24*time.Hour), scanLimit)
		if err != nil {
			t.Fatal(err)
		}
		if len(due) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("leases are still open: %v", due)
		}
	}
}

// awaitLease waits until a lease is as wanted.
func (r *rig) awaitLease(t *testing.T, key store.LeaseKey, wanted func(store.Lease) bool) store.Lease {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); ; <-ticker.C {
		lease, err := r.store.GetLease(t.Context(), key)
		if err == nil && wanted(lease) {
			return lease
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the lease is %+v, %v", lease, err)
		}
	}
}

// steal takes a lease that is held, for an owner who does nothing with it.
func (r *rig) steal(t *testing.T, key store.LeaseKey) store.Lease {
	t.Helper()
	for {
		seen, err := r.store.GetLease(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		stolen, err := r.store.AcquireLease(t.Context(), seen, "a thief")
		if err == nil {
			return stolen
		}
		if campaign.CodeOf(err) != campaign.CodeConflict { // renewed in between
			t.Fatal(err)
		}
	}
}

// deliveries gives all the campaign's deliveries by address.
func (r *rig) deliveries(t *testing.T, id string) map[string]campaign.Delivery {
	t.Helper()
	all := map[string]campaign.Delivery{}
	q := DeliveryQuery{Limit: 100}
	for {
		page, next, err := r.Deliveries(t.Context(), id, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page {
			if _, twice := all[d.Address]; twice {
				t.Errorf("%s is listed twice", d.Address)
			}
			all[d.Address] = d
		}
		if next == "" {
			return all
		}
		q.Cursor = next
	}
}

// mailed fails the test unless the relay has taken, for each of n recipients,
// as many messages as want says; one where it says nothing.
func (r *rig) mailed(t *testing.T, n int, want map[string]int) {
	t.Helper()
	all := map[string]int{}
	for i := range n {
		all[address(i)] = 1
	}
	maps.Copy(all, want)
	maps.DeleteFunc(all, func(_ string, n int) bool { return n == 0 })
	got := r.relay.PerRecipient()
	for to, n := range all {
		if got[to] != n {
			t.Errorf("%s was mailed %d times; want %d", to, got[to], n)
		}
	}
	if len(got) != len(all) {
		t.Errorf("%d persons were mailed; want %d", len(got), len(all))
	}
}

// code fails the test unless the error has the code, and names the field
// where there is one to name.
func code(t *testing.T, what string, err error, want campaign.Code, field string) {
	t.Helper()
	ce, ok := asCampaignError(err)
	if !ok || ce.Code != want {
		t.Errorf("%s: %v; want %s", what, err, want)
		return
	}
	if field != "" && !slices.ContainsFunc(ce.Faults, func(f campaign.Fault) bool { return f.Field == field }) {
		t.Errorf("%s: %v; want a fault of %s", what, err, field)
	}
}

// storeStub passes on what it is not told to do otherwise.
type storeStub struct {
	store.Store

	reopen     func(number int) error
	transition func(store.Transition) error
	totals     func()
	notice     func(text string)
}

func (s *storeStub) ReopenChunk(ctx context.Context, control store.Lease, dueAt time.Time) (store.Lease, error) {
	if s.reopen != nil {
		if err := s.reopen(control.Reopen.Next); err != nil {
			return store.Lease{}, err
		}
	}
	return s.Store.ReopenChunk(ctx, control, dueAt)
}

func (s *storeStub) Transition(ctx context.Context, id string, t store.Transition) (campaign.Campaign, error) {
	if s.transition != nil {
		if err := s.transition(t); err != nil {
			return campaign.Campaign{}, err
		}
	}
	return s.Store.Transition(ctx, id, t)
}

func (s *storeStub) Totals(ctx context.Context, id string) (campaign.Totals, error) {
	if s.totals != nil {
		s.totals()
	}
	return s.Store.Totals(ctx, id)
}

func (s *storeStub) SetNotice(ctx context.Context, id, notice string, at time.Time) error {
	if s.notice != nil {
		s.notice(notice)
	}
	return s.Store.SetNotice(ctx, id, notice, at)
}

func errUnavailable() error {
	return campaign.Errorf(campaign.CodeUnavailable, "the store is out of reach")
}
