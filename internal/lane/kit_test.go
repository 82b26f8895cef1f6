package lane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"postern/internal/budget"
	"postern/internal/campaign"
	"postern/internal/mailer"
	"postern/internal/mailer/smtptest"
	"postern/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// forever is how long a test waits for what must happen before it fails.
const forever = 2 * time.Minute

// cells is the store of budgets.
type cells struct {
	mu    sync.Mutex
	byKey map[string]store.Cell
}

func (c *cells) GetCell(_ context.Context, key string) (store.Cell, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byKey[key], nil
}

func (c *cells) SwapCell(_ context.Context, key string, seen store.Cell, value []byte) (store.Cell, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey[key].Version != seen.Version {
		return store.Cell{}, campaign.Errorf(campaign.CodeConflict, "the cell has changed")
	}
	if c.byKey == nil {
		c.byKey = map[string]store.Cell{}
	}
	c.byKey[key] = store.Cell{Version: seen.Version + 1, Value: slices.Clone(value)}
	return c.byKey[key], nil
}

func budgets(c *cells, owner string, now func() time.Time) *budget.Budgets {
	return budget.New(c, budget.Config{
		Owner: owner, LeaseTime: 10 * time.Second, PollEvery: 10 * time.Millisecond, Now: now, Log: zerolog.Nop(),
	})
}

// kit is a relay with a lane to it.
type kit struct {
	*Lane
	relay  *smtptest.Server
	cells  *cells
	owner  string // the task's
	cutOff context.CancelFunc
	close  func() // ends the lane, once
}

// setting is what differs between tests.
type setting struct {
	relay       smtptest.Config
	connections int
	change      func(*Config, *mailer.Relay)
}

func start(t testing.TB, s setting) *kit {
	t.Helper()
	relay, err := smtptest.Start(s.relay)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Close)
	k := &kit{relay: relay, cells: &cells{}, owner: "first"}
	k.open(t, s)
	return k
}

// open opens the lane, as one of several tasks.
func (k *kit) open(t testing.TB, s setting) {
	t.Helper()
	rules, err := mailer.ParseRules([]string{"127.0.0.0/8"}, []int{k.relay.Port()})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Session: mailer.Options{
			Rules: rules, LocalName: "client.test", RootCAs: k.relay.RootCAs(),
			Timeouts: mailer.Timeouts{Quit: forever}, // the relay's counts are right behind it
		},
		Now:        time.Now,
		Caps:       budget.Caps{Connections: s.connections},
		Registerer: prometheus.NewRegistry(),
		Log:        zerolog.Nop(),
	}
	to := mailer.Relay{Host: k.relay.Host(), Port: k.relay.Port()}
	if s.change != nil {
		s.change(&cfg, &to)
	}
	cfg.Budgets = budgets(k.cells, k.owner, cfg.Now)
	ctx, cancel := context.WithCancel(context.Background())
	k.cutOff = cancel
	k.Lane = NewLanes(ctx, cfg).Open(to)
	k.close = sync.OnceFunc(k.Close)
	t.Cleanup(func() {
		k.close()
		cancel()
	})
}

// letter is what all jobs send.
var letter = sync.OnceValue(func() *mailer.Letter {
	l, err := mailer.Compile(mailer.Content{
		Subject: "Hello {{first_name}}", HTML: "<p>Dear {{first_name}}, ...</p>",
		From: campaign.Mailbox{Address: "news@sender.test"}, Date: time.Unix(1e9, 0),
	})
	if err != nil {
		panic(err)
	}
	return l
})

// list is a source: a list of recipients.
type list struct {
	name string
	from string
	// firstName gives a recipient's; "Ada" where it is nil.
	firstName func(i int) string

	mu       sync.Mutex
	open     []int // the next one last
	taken    map[int]int
	outcomes []Outcome
	// again puts what was not sent back to the end, as a chunk does.
	again bool
	// onDone and onTake are called without the lock.
	onDone    func(Outcome)
	onTake    func()
	mayCommit func() error
	mayBegin  func() error
	left      int // without an outcome that is final
	finished  chan struct{}
}

func newList(name string, n int) *list {
	l := &list{name: name, from: "news@sender.test", taken: map[int]int{}, left: n, finished: make(chan struct{})}
	for i := range n {
		l.open = append(l.open, n-1-i)
	}
	return l
}

// putBackTo has what was not sent put back, as a chunk does for its group.
func (l *list) putBackTo(g *Group) {
	l.again = true
	l.onDone = func(o Outcome) {
		if o.Err != nil {
			g.Wake()
		}
	}
}

func (l *list) address(i int) string { return fmt.Sprintf("%s-%d@rcpt.test", l.name, i) }

func (l *list) Ready() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open) > 0
}

func (l *list) Take() (Job, bool) {
	if l.onTake != nil {
		l.onTake()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) == 0 {
		return Job{}, false
	}
	i := l.open[len(l.open)-1]
	l.open = l.open[:len(l.open)-1]
	l.taken[i]++
	name := "Ada"
	if l.firstName != nil {
		name = l.firstName(i)
	}
	return Job{
		Index: i, Recipient: campaign.Recipient{Address: l.address(i), Values: []string{name, "Byron"}},
		Letter: letter(), From: l.from, MessageID: fmt.Sprintf("%s.%d@sender.test", l.name, i),
		MayCommit: l.mayCommit, MayBegin: l.mayBegin,
	}, true
}

func (l *list) Done(o Outcome) {
	l.record(o)
	if l.onDone != nil {
		l.onDone(o)
	}
}

func (l *list) record(o Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcomes = append(l.outcomes, o)
	if o.Err != nil && l.again {
		l.open = slices.Insert(l.open, 0, o.Index)
		return
	}
	if l.left--; l.left == 0 {
		close(l.finished)
	}
}

// results gives the outcomes so far.
func (l *list) results() []Outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.outcomes)
}

// count counts outcomes.
func (l *list) count(is func(Outcome) bool) (n int) {
	for _, o := range l.results() {
		if is(o) {
			n++
		}
	}
	return n
}

func isSent(o Outcome) bool { return o.Err == nil }

func isNotStarted(o Outcome) bool { return errors.Is(o.Err, ErrNotStarted) }

// failure is the *mailer.Error of an outcome.
func failure(t testing.TB, o Outcome) *mailer.Error {
	t.Helper()
	me, ok := errors.AsType[*mailer.Error](o.Err)
	if !ok {
		t.Fatalf("outcome %+v, want a *mailer.Error", o)
	}
	return me
}

// send sends n messages and checks that all were taken.
func (k *kit) send(t testing.TB, g *Group, name string, n int) {
	t.Helper()
	l := newList(name, n)
	defer g.Attach(l)()
	l.wait(t)
	l.balanced(t)
	for _, o := range l.results() {
		if o.Err != nil {
			t.Fatalf("%s: outcome %v", name, o.Err)
		}
	}
}

// rest waits until all workers are parked.
func (k *kit) rest(t testing.TB) {
	t.Helper()
	eventually(t, "the workers rest", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.idle == len(k.workers)
	})
}

// limit is the lane's adaptive limit.
func (k *kit) limit() int {
	limit, _, _ := k.state()
	return limit
}

func (k *kit) isOpen() bool {
	_, _, open := k.state()
	return open
}

// underWay is how many were taken and are not done.
func (l *list) underWay() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := -len(l.outcomes)
	for _, taken := range l.taken {
		n += taken
	}
	return n
}

// wait waits until all recipients have their final outcome.
func (l *list) wait(t testing.TB) {
	t.Helper()
	waitFor(t, l.finished, "end of "+l.name)
}

// balanced: every Take had exactly one Done.
func (l *list) balanced(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	done := map[int]int{}
	for _, o := range l.outcomes {
		done[o.Index]++
	}
	for i, n := range l.taken {
		if done[i] != n {
			t.Errorf("%s was taken %d times and has %d outcomes", l.address(i), n, done[i])
		}
	}
}

// waitFor bounds what a test waits for.
func waitFor(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(forever):
		t.Fatal("no " + what)
	}
}

// eventually polls what no channel tells of.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(forever)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
		time.Sleep(time.Millisecond)
	}
}
