package budget

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// crowd is several tasks on one store. It looks at the sums of all of them.
type crowd struct {
	caps    Caps
	store   *memory
	relay   *relay
	sites   []*site
	started int
}

func newCrowd(caps Caps) *crowd { return &crowd{caps: caps, store: newMemory(), relay: &relay{}} }

// join starts a task whose way to the store has faults, where there are some.
func (c *crowd) join(workers int, faults func(*link)) {
	c.started++
	s := newSite(c.store, c.caps, Config{Owner: fmt.Sprintf("task%d", c.started)})
	if faults != nil {
		faults(s.link)
	}
	s.employ(workers, c.relay)
	c.sites = append(c.sites, s)
}

// remove takes a site out of those that count.
func (c *crowd) remove(s *site) {
	for i, o := range c.sites {
		if o == s {
			c.sites = append(c.sites[:i], c.sites[i+1:]...)
		}
	}
}

// check holds the sums to the caps.
func (c *crowd) check(t *testing.T) {
	t.Helper()
	good, allowed, rate := 0, 0, 0.0
	for _, s := range c.sites {
		stats := s.share.Stats()
		good += s.good()
		allowed += stats.Connections
		rate += stats.Rate
	}
	if good > c.caps.Connections || allowed > c.caps.Connections || rate > c.caps.Rate+1e-9 {
		t.Fatalf("%d good permits, %d allowed, and %v messages a second: more than %+v", good, allowed, rate, c.caps)
	}
	written := part{}
	for _, e := range c.store.read(account).Tasks {
		written.Connections += e.Connections
		written.Rate += e.Rate
	}
	if written.Connections > c.caps.Connections || written.Rate > c.caps.Rate+1e-9 {
		t.Fatalf("the book gives away %+v of %+v", written, c.caps)
	}
}

// watch checks every few milliseconds for a while.
func (c *crowd) watch(t *testing.T, d time.Duration) {
	t.Helper()
	for range d / (7 * time.Millisecond) {
		time.Sleep(7 * time.Millisecond)
		c.check(t)
	}
}

// TestCrowd lets tasks come, leave, die, lose the store for longer than their
// lease and find it again, over a slow store that loses answers.
func TestCrowd(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { crowdWithFaults(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func crowdWithFaults(t *testing.T, random *rand.Rand) {
	c := newCrowd(Caps{Connections: 1 + random.IntN(10), Rate: []float64{1, 3.5, 40, 500}[random.IntN(4)]})
	join := func() {
		own := rand.New(rand.NewPCG(random.Uint64(), 2))
		c.join(1+random.IntN(12), func(l *link) {
			l.delay = func() time.Duration { return time.Duration(own.IntN(80)) * time.Millisecond }
			l.lose = func() bool { return own.IntN(10) == 0 }
		})
	}
	mends := map[*site]func(){}
	for range 40 {
		c.watch(t, time.Duration(random.IntN(4000))*time.Millisecond)
		if len(c.sites) == 0 || random.IntN(4) == 0 && len(c.sites) < 6 {
			join()
			continue
		}
		s := c.sites[random.IntN(len(c.sites))]
		mend, away := mends[s]
		switch {
		case away:
			mend()
			delete(mends, s)
		case random.IntN(3) > 0:
			mends[s] = s.link.cut()
		case random.IntN(2) == 0:
			c.remove(s)
			s.die()
		default:
			c.remove(s)
			s.leave(t.Context())
		}
	}
	for _, mend := range mends {
		mend()
	}
	if len(c.sites) == 0 {
		join()
	}
	c.watch(t, 15*time.Second)
	before := time.Now()
	c.watch(t, 10*time.Second)
	if n := float64(c.relay.since(before)); n < c.caps.Rate*5 && n < 100 {
		t.Errorf("%v messages in the last 10 s of calm, of %v a second", n, c.caps.Rate)
	}
	tasks := float64(c.started)
	if n := float64(c.relay.busiest(time.Second)); n > c.caps.Rate*1.02+tasks+float64(c.caps.Connections) {
		t.Errorf("%v messages in some second, of %v", n, c.caps.Rate)
	}
	if c.relay.peak() > c.caps.Connections {
		t.Errorf("%d connections had messages under way at the same time, of %d", c.relay.peak(), c.caps.Connections)
	}
	for _, s := range c.sites {
		s.leave(t.Context())
	}
	if left := c.store.read(account).Tasks; len(left) > 0 {
		t.Errorf("entries %+v after all have left", left)
	}
}

// TestFourTasks is how the caps are shown to hold: four tasks with a cap of 8
// connections and 500 messages a second, one of them killed, one added.
func TestFourTasks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(Caps{Connections: 8, Rate: 500})
		for range 4 {
			c.join(8, nil)
		}
		c.watch(t, 10*time.Second)
		killed := c.sites[1]
		c.remove(killed)
		killed.die()
		c.watch(t, 5*time.Second)
		c.join(8, nil)
		c.watch(t, 15*time.Second)
		steady := time.Now()
		c.watch(t, 10*time.Second)
		if n := c.relay.peak(); n > 8 {
			t.Errorf("%d connections at the same time", n)
		}
		if n := c.relay.busiest(time.Second); n > 550 {
			t.Errorf("%d messages in some second", n)
		}
		if n := c.relay.since(steady); n < 4900 {
			t.Errorf("%d messages in 10 s, of 500 a second", n)
		}
		for _, s := range c.sites {
			if got := s.good(); got != 2 {
				t.Errorf("a task has %d connections, want 2", got)
			}
			s.leave(context.Background())
		}
	})
}
