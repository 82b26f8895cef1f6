// Package doctor finds out, step by step, why mail does not flow: it walks
// the way to a relay as a session does, and reads what a store has tried, and
// says of each step whether it works, how long it took, and what a person can
// do where it does not. It sends no message and writes nothing.
package doctor

import (
	"context"
	"math"
	"slices"
	"time"
)

// State is what came of a step.
type State string

// The states of a step.
const (
	OK      State = "ok"
	Warning State = "warning" // it works, and somebody should look at it
	Failed  State = "failed"
	Skipped State = "skipped" // not asked for, or a step before it failed
)

// Step is one thing that was looked at. Its JSON is what the API and
// `server doctor -json` show.
type Step struct {
	Name         string  `json:"name"`
	State        State   `json:"state"`
	Milliseconds float64 `json:"milliseconds"`
	// Detail is what was found, never a secret.
	Detail string `json:"detail"`
	// Hint is what to look at, for whoever can mend it; "" where there is
	// nothing to do.
	Hint string `json:"hint,omitempty"`
}

// Check is all that was found out about one thing.
type Check struct {
	Subject string `json:"subject"`
	// OK: no step failed.
	OK    bool   `json:"ok"`
	Steps []Step `json:"steps"`
	// Offer and TLS are a relay's; nil where the walk did not come so far.
	Offer *Offer `json:"offer,omitempty"`
	TLS   *TLS   `json:"tls,omitempty"`
}

// NewCheck makes a Check of steps that were taken elsewhere.
func NewCheck(subject string, steps []Step) Check {
	w := newWalk(subject)
	for _, s := range steps {
		took := time.Duration(s.Milliseconds * float64(time.Millisecond))
		w.add(s.Name, took, finding{state: s.State, detail: s.Detail, hint: s.Hint})
	}
	return w.check
}

// finding is what came of a step that was taken.
type finding struct {
	state  State
	detail string
	hint   string
}

func fine(detail string) finding          { return finding{state: OK, detail: detail} }
func skip(detail string) finding          { return finding{state: Skipped, detail: detail} }
func warning(detail, hint string) finding { return finding{state: Warning, detail: detail, hint: hint} }
func failure(detail, hint string) finding { return finding{state: Failed, detail: detail, hint: hint} }

// walk gathers steps. The first that fails has all later ones skipped.
type walk struct {
	check   Check
	stopped string // the step that failed; "" for none
}

func newWalk(subject string) *walk { return &walk{check: Check{Subject: subject, OK: true}} }

// take takes a step, unless one before it has failed.
func (w *walk) take(ctx context.Context, name string, do func(context.Context) finding) {
	if w.stopped != "" {
		w.add(name, 0, skip("not reached: "+w.stopped+" failed"))
		return
	}
	began := time.Now()
	f := do(ctx)
	w.add(name, time.Since(began), f)
	if f.state == Failed {
		w.stopped = name
	}
}

// add notes what came of a step.
func (w *walk) add(name string, took time.Duration, f finding) {
	w.check.Steps = append(w.check.Steps, Step{
		Name: name, State: f.state, Milliseconds: milliseconds(took), Detail: printable(f.detail), Hint: f.hint,
	})
	w.check.OK = w.check.OK && f.state != Failed
}

// milliseconds with two decimals: what is below 10 µs is nothing here.
func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d.Microseconds())/10) / 100
}

// Healthy says whether nothing failed in any of the checks.
func Healthy(checks []Check) bool {
	return !slices.ContainsFunc(checks, func(c Check) bool { return !c.OK })
}
