package main

import (
	"math/rand/v2"
	"time"

	"postern/internal/mailer/smtptest"
)

// The promises of a campaign.
const (
	atLeastOnce = "at_least_once"
	atMostOnce  = "at_most_once"
)

// kind is a fault by its name, as the tables have it.
type kind string

// The named steps at which a task is killed.
const (
	atMail    kind = "before MAIL's reply"
	atContent kind = "before the dot"
	atDot     kind = "after the dot, before the 250"
	atReply   kind = "right after the 250"
	unstored  kind = "after the 250, before the result is stored"
	unanswer  kind = "result stored, before the store's answer"
	freezing  kind = "while freezing"
	claiming  kind = "while claiming"
	stopping  kind = "during a stop"
	starting  kind = "at start"
	accepting kind = "at the 202"
)

// The further faults.
const (
	suspend    kind = "SIGSTOP past the lease"
	cut        kind = "cut between dot and reply"
	busy       kind = "421"
	greylist   kind = "451"
	slow       kind = "slow relay"
	throttle   kind = "store throttled"
	down       kind = "store down"
	downLong   kind = "store down past the lease"
	answerLost kind = "store's answers lost"
)

// mixed is a scenario of all kinds at random.
const mixed kind = "all at random"

// killSteps are the steps at which a fleet's tasks can be killed. On the
// embedded store nothing sees a write go by, so steps of the store are hit by
// time, and claiming is what happens at start.
func killSteps(embedded bool) []kind {
	steps := []kind{atMail, atContent, atDot, atReply, unstored, unanswer, freezing, stopping, starting, accepting}
	if !embedded {
		steps = append(steps, claiming)
	}
	return steps
}

// disturbances are the other faults of a fleet.
func disturbances(embedded bool) []kind {
	kinds := []kind{cut, busy, greylist, slow, suspend}
	if !embedded {
		kinds = append(kinds, throttle, down, downLong, answerLost)
	}
	return kinds
}

// fault is one fault of a plan. Its numbers come from the seed; the moment at
// which it strikes is the machine's.
type fault struct {
	kind kind
	gap  int           // so many messages are taken before it is waited for
	skip int           // so many events of its kind pass
	wait time.Duration // where it is hit by time, or a signal follows another
	span time.Duration // how long it lasts
	late bool          // the one of two variants that is later
}

// scenario is a series of faults to campaigns of one promise.
type scenario struct {
	name    kind
	promise string
	faults  []fault
}

// planner makes scenarios out of a seed.
type planner struct {
	rng      *rand.Rand
	embedded bool
}

func newPlanner(seed, fleet uint64, embedded bool) *planner {
	return &planner{rng: rand.New(rand.NewPCG(seed, fleet)), embedded: embedded} //nolint:gosec // G404: repeatable, not secret
}

// between draws a duration.
func (p *planner) between(least, most time.Duration) time.Duration {
	return least + time.Duration(p.rng.Int64N(int64(most-least)))
}

func (p *planner) fault(k kind) fault {
	f := fault{
		kind: k, gap: 20 + p.rng.IntN(100), skip: p.rng.IntN(30), late: p.rng.IntN(2) == 0,
		wait: p.between(time.Millisecond, 40*time.Millisecond), span: p.between(500*time.Millisecond, 2*time.Second),
	}
	switch k {
	case unanswer, unstored:
		f.skip = p.rng.IntN(4)
	case freezing:
		f.gap, f.skip = 0, p.rng.IntN(3)
	case claiming:
		f.gap, f.skip = 0, p.rng.IntN(2)
	case starting:
		f.gap = 0
	case suspend:
		f.span = p.between(11*time.Second, 14*time.Second)
	case down:
		f.span = p.between(time.Second, 4*time.Second)
	case downLong:
		f.span = p.between(11*time.Second, 13*time.Second)
	default:
	}
	return f
}

// repeat makes a scenario of one kind of fault.
func (p *planner) repeat(k kind, n int, promise string) scenario {
	s := scenario{name: k, promise: promise}
	for range n {
		s.faults = append(s.faults, p.fault(k))
	}
	return s
}

// mix makes a scenario of n faults at random, most of them kills.
func (p *planner) mix(n int, promise string) scenario {
	s := scenario{name: mixed, promise: promise}
	steps, others := killSteps(p.embedded), disturbances(p.embedded)
	for range n {
		k := steps[p.rng.IntN(len(steps))]
		if p.rng.IntN(4) == 0 {
			k = others[p.rng.IntN(len(others))]
		}
		s.faults = append(s.faults, p.fault(k))
	}
	return s
}

// weatherOf is what a fault of the relay's is like; 421 and 451 come at one of
// two stages.
func (f fault) weatherOf() []weather {
	const share = 0.2
	late := smtptest.StageDot
	switch f.kind {
	case cut: // the relay has taken the message, or has not
		return []weather{
			{Stage: smtptest.StageAccepted, Share: share / 2, Cut: true},
			{Stage: smtptest.StageDot, Share: share / 2, Cut: true},
		}
	case busy:
		if !f.late {
			late = smtptest.StageMail
		}
		return []weather{{Stage: late, Share: share / 2, Reply: "421 4.3.2 too busy, closing"}}
	case greylist:
		if !f.late {
			late = smtptest.StageRcpt
		}
		return []weather{{Stage: late, Share: share, Reply: "451 4.7.1 try again later"}}
	default:
		return []weather{{Stage: smtptest.StageDot, Share: 1, Delay: 10 * f.wait}}
	}
}
