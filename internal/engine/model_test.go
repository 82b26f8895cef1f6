package engine

import (
	"fmt"
	"strings"
	"testing"
)

// This is a model of the protocol that the package comment lays down, small
// enough to visit every state that three tasks can get two recipients of one
// chunk into: every order of steps, with crashes, pauses beyond the lease,
// replies lost behind the final dot and answers of the store lost after the
// write at every point. Versions are left out: it matters only whether a
// holder has seen the last write.

const (
	modelTasks      = 3
	modelRecipients = 2
)

// rules is what the model is explored with. The bounds on faults keep it
// finite; the booleans take a safeguard away, to see that the model notices.
type rules struct {
	atMostOnce    bool
	crashes       int8
	pauses        int8
	lostReplies   int8
	lostAnswers   int8
	noDotCheck    bool // the deadline is not checked before the final dot
	earlyTakeover bool // a lease is taken over before it has run out
	recordEarly   bool // sent is recorded before the relay's answer
	noIntents     bool // at-most-once without durable intents
}

type phase int8

const (
	idle    phase = iota
	holding       // has the lease, or had it and does not know yet
	late          // has learnt that the lease is lost
)

type stage int8

const (
	none      stage = iota
	begun           // the deadline was checked before MAIL
	committed       // and again before the dot
	dotted          // the dot is with the relay, which has acknowledged it
)

type result int8

const (
	open result = iota
	sent
	unknown
)

const (
	nobody = -1
	gone   = -2 // an owner that has crashed
)

// modelTask is what one task knows.
type modelTask struct {
	phase    phase
	expired  bool // its deadline has passed
	behind   bool // others have written to the lease since its last write
	flight   int8 // the recipient under way
	stage    stage
	known    [modelRecipients]result // as of its last look at the lease
	declared [modelRecipients]bool   // its durable intents
	results  [modelRecipients]result // found out and not recorded
}

// world is one state of everything.
type world struct {
	owner   int8
	closed  bool
	rows    [modelRecipients]result
	intents [modelRecipients]bool
	acks    [modelRecipients]int8
	// excuses count the crashes, lost leases and lost replies that met the
	// recipient in flight, or acknowledged and not recorded.
	excuses [modelRecipients]int8
	tasks   [modelTasks]modelTask

	crashes, pauses, lostReplies, lostAnswers int8
}

func newWorld() world {
	w := world{owner: nobody}
	for i := range w.tasks {
		w.tasks[i].flight = nobody
	}
	return w
}

// holds says whether the task's lease is its own in the store.
func (w *world) holds(i int) bool { return w.tasks[i].phase == holding && int(w.owner) == i }

// step is a named successor.
type step struct {
	name string
	to   world
}

// successors lists every step that some task, or some fault, may take.
func (r rules) successors(w world) (all []step) {
	add := func(name string, i int, change func(w *world, t *modelTask)) {
		next := w
		change(&next, &next.tasks[i])
		all = append(all, step{fmt.Sprintf("%d %s", i, name), next})
	}
	for i := range w.tasks {
		t := &w.tasks[i]
		switch t.phase {
		case idle:
			if !w.closed && r.free(&w, i) {
				add("acquires", i, func(w *world, _ *modelTask) { r.acquire(w, i) })
			}
		case holding:
			r.holderSteps(&w, i, add)
		case late:
			if t.flight == nobody {
				add("absorbs", i, func(w *world, t *modelTask) { w.absorb(i); *t = modelTask{flight: nobody} })
			}
		}
		if t.phase != idle {
			r.wireSteps(t, i, add)
			r.faults(&w, i, add)
		}
	}
	return all
}

// free says whether the lease may be acquired: nobody has it, its owner has
// crashed, or its owner's deadline has passed (time runs alike for all).
func (r rules) free(w *world, i int) bool {
	switch {
	case w.owner == nobody || w.owner == gone:
		return true
	case int(w.owner) == i:
		return false
	default:
		return w.tasks[w.owner].expired || r.earlyTakeover
	}
}

func (r rules) acquire(w *world, i int) {
	if w.owner >= 0 {
		w.excuse(int(w.owner)) // a live owner loses its lease
	}
	w.owner = int8(i)
	w.tasks[i] = modelTask{phase: holding, flight: nobody, known: w.rows}
	for n := range w.rows {
		if r.atMostOnce && w.intents[n] && w.rows[n] == open {
			w.tasks[i].results[n] = unknown
		}
	}
}

// excuse counts what a task has under way or unrecorded. The recipient whose
// dot has passed the last check counts: a pause behind it lets it slip out.
func (w *world) excuse(i int) {
	t := &w.tasks[i]
	for n := range t.results {
		if t.results[n] == sent || int(t.flight) == n && t.stage >= committed {
			w.excuses[n]++
		}
	}
}

type adder func(name string, i int, change func(w *world, t *modelTask))

func (r rules) holderSteps(w *world, i int, add adder) {
	t := &w.tasks[i]
	results := false
	for n := range t.known {
		results = results || t.results[n] != open
		if t.known[n] != open || t.results[n] != open || t.flight != nobody || t.expired {
			continue
		}
		if r.atMostOnce && !r.noIntents && !t.declared[n] {
			add(fmt.Sprintf("declares %d", n), i, func(w *world, t *modelTask) {
				r.write(w, i, func(w *world, t *modelTask) { w.intents[n], t.declared[n] = true, true })
			})
			continue
		}
		add(fmt.Sprintf("begins %d", n), i, func(_ *world, t *modelTask) { t.flight, t.stage = int8(n), begun })
	}
	if results {
		record := func(w *world, t *modelTask) {
			for n := range t.results {
				if t.results[n] != open && w.rows[n] == open {
					w.rows[n] = t.results[n]
				}
				if t.results[n] != open {
					t.results[n], w.intents[n] = open, false
				}
			}
			t.known = w.rows
		}
		add("records", i, func(w *world, _ *modelTask) { r.write(w, i, record) })
		if w.lostAnswers < r.lostAnswers && w.holds(i) && !t.behind {
			// Applied, and not known to be: it is recognised at the next try.
			add("records, unanswered", i, func(w *world, t *modelTask) {
				w.lostAnswers++
				keep := t.results
				record(w, t)
				t.results = keep
			})
		}
		return
	}
	if t.flight != nobody {
		return
	}
	settled := true
	for n := range t.known {
		settled = settled && t.known[n] != open
	}
	if settled {
		add("closes", i, func(w *world, _ *modelTask) {
			r.write(w, i, func(w *world, t *modelTask) {
				w.closed, w.owner = true, nobody
				*t = modelTask{flight: nobody}
			})
		})
		return
	}
	add("releases", i, func(w *world, _ *modelTask) {
		r.write(w, i, func(w *world, t *modelTask) {
			w.owner, w.intents = nobody, [modelRecipients]bool{}
			*t = modelTask{flight: nobody}
		})
	})
}

// write is a fenced write: of a lease that is lost it fails, of one that an
// Absorb has changed it is done again on what is there, else it is applied.
func (r rules) write(w *world, i int, apply func(w *world, t *modelTask)) {
	t := &w.tasks[i]
	if !w.holds(i) {
		t.phase = late
		return
	}
	if t.behind {
		t.known, t.behind = w.rows, false
		return // and tried again, with what it knows now
	}
	apply(w, t)
	t.expired = false
}

// absorb records what the task knows to be acknowledged, under whatever lease
// there is.
func (w *world) absorb(i int) {
	for n, found := range w.tasks[i].results {
		if found == sent && w.rows[n] != sent {
			w.rows[n], w.intents[n] = sent, false
			if w.owner >= 0 {
				w.tasks[w.owner].behind = true
			}
		}
	}
}

// wireSteps are those of the message under way.
func (r rules) wireSteps(t *modelTask, i int, add adder) {
	n := t.flight
	switch t.stage {
	case begun:
		add("commits", i, func(_ *world, t *modelTask) {
			if t.expired && !r.noDotCheck || t.phase == late {
				t.flight, t.stage = nobody, none
				return
			}
			t.stage = committed
			if r.recordEarly {
				t.results[n] = sent
			}
		})
	case committed:
		add("writes the dot", i, func(w *world, t *modelTask) {
			t.stage = dotted
			w.acks[n]++
		})
	case dotted:
		add("is answered", i, func(_ *world, t *modelTask) { t.flight, t.stage, t.results[n] = nobody, none, sent })
	case none:
	}
}

// faults are what may go wrong with a task that is at work.
func (r rules) faults(w *world, i int, add adder) {
	t := &w.tasks[i]
	if w.crashes < r.crashes {
		add("crashes", i, func(w *world, t *modelTask) {
			w.crashes++
			w.excuse(i)
			if int(w.owner) == i {
				w.owner = gone
			}
			*t = modelTask{flight: nobody}
		})
	}
	if w.pauses < r.pauses && !t.expired && t.phase == holding {
		add("is paused beyond its lease", i, func(w *world, t *modelTask) { w.pauses++; t.expired = true })
	}
	if w.lostReplies < r.lostReplies && t.stage == dotted {
		add("loses the reply", i, func(w *world, t *modelTask) {
			w.lostReplies++
			w.excuses[t.flight]++
			if r.atMostOnce {
				t.results[t.flight] = unknown
			}
			t.flight, t.stage = nobody, none
		})
	}
}

// fault names the invariant of facts that a state breaks, "" for none.
func (r rules) fault(w *world) string {
	for n := range w.rows {
		switch {
		case r.atMostOnce && w.acks[n] > 1:
			return fmt.Sprintf("recipient %d has it twice in an at-most-once campaign", n)
		case w.acks[n]-1 > w.excuses[n]:
			return fmt.Sprintf("recipient %d has it %d times, and %d are accounted for", n, w.acks[n], 1+w.excuses[n])
		case w.rows[n] == sent && w.acks[n] == 0:
			return fmt.Sprintf("recipient %d is sent, and the relay has nothing", n)
		case w.closed && w.rows[n] == open:
			return fmt.Sprintf("the chunk is closed, and recipient %d is open", n)
		case w.rows[n] == unknown && !r.atMostOnce:
			return fmt.Sprintf("recipient %d is unknown in an at-least-once campaign", n)
		}
	}
	return ""
}

// done: the chunk is closed and nobody has anything left to say.
func (w *world) done() bool {
	for i := range w.tasks {
		if w.tasks[i].phase != idle {
			return false
		}
	}
	return w.closed
}

// explore visits every state. It gives their number, and the way to a state
// that breaks an invariant or from which no way leads to the end.
func (r rules) explore() (states int, fault string) {
	start := newWorld()
	index := map[world]int{start: 0}
	worlds, parents, names := []world{start}, []int{0}, []string{""}
	var before [][]int // for each state the ones that lead to it
	before = append(before, nil)
	for at := 0; at < len(worlds); at++ {
		for _, s := range r.successors(worlds[at]) {
			to, seen := index[s.to]
			if !seen {
				to = len(worlds)
				index[s.to] = to
				worlds, parents, names = append(worlds, s.to), append(parents, at), append(names, s.name)
				before = append(before, nil)
				if broken := r.fault(&s.to); broken != "" {
					return len(worlds), broken + way(parents, names, to)
				}
			}
			before[to] = append(before[to], at)
		}
	}
	if stuck := unending(worlds, before); stuck >= 0 {
		return len(worlds), "no way leads to the end" + way(parents, names, stuck)
	}
	return len(worlds), ""
}

// unending gives a state from which the end cannot be reached, -1 for none.
func unending(worlds []world, before [][]int) int {
	ends := make([]bool, len(worlds))
	var queue []int
	for i := range worlds {
		if worlds[i].done() {
			ends[i] = true
			queue = append(queue, i)
		}
	}
	for len(queue) > 0 {
		at := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, b := range before[at] {
			if !ends[b] {
				ends[b] = true
				queue = append(queue, b)
			}
		}
	}
	for i, e := range ends {
		if !e {
			return i
		}
	}
	return -1
}

func way(parents []int, names []string, at int) string {
	var steps []string
	for at != 0 {
		steps = append([]string{names[at]}, steps...)
		at = parents[at]
	}
	return ":\n  " + strings.Join(steps, "\n  ")
}

func TestModel(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]rules{
		"at least once, every fault":  {crashes: 1, pauses: 1, lostReplies: 1, lostAnswers: 1},
		"at least once, pauses":       {pauses: 2, lostReplies: 1},
		"at least once, lost answers": {crashes: 1, lostAnswers: 2},
		"at least once, crashes":      {crashes: 3},
		"at most once, every fault":   {atMostOnce: true, crashes: 2, pauses: 1, lostReplies: 1, lostAnswers: 1},
		"at most once, pauses":        {atMostOnce: true, crashes: 1, pauses: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			states, fault := r.explore()
			if fault != "" {
				t.Error(fault)
			}
			t.Logf("%d states", states)
		})
	}
}

// TestModelNotices takes the safeguards away one by one: a model that finds
// nothing then would show nothing above either.
func TestModelNotices(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]rules{
		"a take-over before the lease has run out": {atMostOnce: true, noIntents: true, earlyTakeover: true},
		"no deadline check before the dot":         {atMostOnce: true, noIntents: true, noDotCheck: true, pauses: 1},
		"no intents":                               {atMostOnce: true, noIntents: true, crashes: 1},
		"a result recorded before the answer":      {recordEarly: true, crashes: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, fault := r.explore(); fault == "" {
				t.Error("the model finds nothing wrong")
			}
		})
	}
}
