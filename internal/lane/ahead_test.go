package lane

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/mailer"
	"postern/internal/mailer/smtptest"
)

// inHand is a lane's only session with three jobs in its worker's hands: one
// whose final dot the relay has, one whose envelope it has, and one that is
// ready behind it.
type inHand struct {
	*kit
	group *Group
	list  *list
	// answer lets the relay answer the dot.
	answer func()
	// held is what the jobs' MayBegin and MayCommit give.
	mayBegin, mayCommit atomic.Pointer[error]
}

func holdThree(t *testing.T, s setting, atDot smtptest.Action) *inHand {
	t.Helper()
	h := &inHand{kit: start(t, s), list: newList("l", 3)}
	h.group = h.Join("c")
	t.Cleanup(h.group.Leave)
	h.send(t, h.group, "before", 1)
	h.rest(t)
	answer := make(chan struct{})
	h.answer = sync.OnceFunc(func() { close(answer) })
	t.Cleanup(h.answer)
	h.relay.SetHook(smtptest.Times(1, smtptest.At(smtptest.StageDot, atDot.After(answer))))
	h.list.mayBegin, h.list.mayCommit = asked(&h.mayBegin), asked(&h.mayCommit)
	t.Cleanup(h.group.Attach(h.list))
	eventually(t, "three jobs are in hand", func() bool {
		return h.list.underWay() == 3 && h.relay.Stats().Transactions == 1
	})
	return h
}

func asked(answer *atomic.Pointer[error]) func() error {
	return func() error {
		if err := answer.Load(); err != nil {
			return *err
		}
		return nil
	}
}

// Nothing of what happens while the relay thinks about a message loses one
// that was taken ahead of its time, or sends it all the same.
func TestJobsInHandArePutBack(t *testing.T) {
	t.Parallel()
	const daily = 600 // is reserved by six, so that there are three for the hand
	held := errors.New("held back")
	for name, c := range map[string]struct {
		atDot   smtptest.Action
		happens func(*testing.T, *inHand)
		// sent is which of the three the relay is to have; the others were not
		// started, but the first where it is in doubt.
		sent []int
		over bool // the lane or the group is
	}{
		"nothing":           {happens: func(*testing.T, *inHand) {}, sent: []int{0, 1, 2}},
		"dot refused":       {atDot: smtptest.Reply("554 5.7.1 no"), happens: func(*testing.T, *inHand) {}, sent: []int{1, 2}},
		"lease lost":        {happens: func(_ *testing.T, h *inHand) { h.mayCommit.Store(&held) }, sent: []int{0}},
		"campaign over":     {happens: func(_ *testing.T, h *inHand) { h.mayBegin.Store(&held) }, sent: []int{0, 1}},
		"group stopped":     {happens: func(_ *testing.T, h *inHand) { h.group.Stop() }, sent: []int{0, 1}, over: true},
		"lane stopped":      {happens: func(_ *testing.T, h *inHand) { h.stop() }, sent: []int{0, 1}, over: true},
		"connection closed": {atDot: smtptest.Close(), happens: func(*testing.T, *inHand) {}},
		"cut off":           {atDot: smtptest.Hang(), happens: func(_ *testing.T, h *inHand) { h.cutOff() }, over: true},
		"permit revoked":    {happens: func(t *testing.T, h *inHand) { h.revoke(t) }, sent: []int{0, 1}, over: true},
		"421":               {atDot: smtptest.Reply("421 4.3.2 bye").ThenClose(), happens: func(*testing.T, *inHand) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := holdThree(t, setting{connections: 1, change: func(c *Config, _ *mailer.Relay) { c.Caps.Daily = daily }}, c.atDot)
			c.happens(t, h)
			h.answer()
			h.list.wait(t)
			h.list.balanced(t)
			for _, o := range h.list.results() {
				isFirst, isSent := o.Index == 0, slices.Contains(c.sent, o.Index)
				if isSent != (o.Err == nil) || !isSent && !isFirst && !isNotStarted(o) {
					t.Errorf("outcome of %d: %v", o.Index, o.Err)
				}
				if n := h.relay.CountTo(h.list.address(o.Index)); isSent != (n == 1) || n > 1 {
					t.Errorf("the relay has %d for %d", n, o.Index)
				}
			}
			if !c.over {
				h.mayBegin.Store(nil)
				h.mayCommit.Store(nil)
				begun := max(1, len(c.sent))
				if !slices.Contains(c.sent, 0) && len(c.sent) > 0 {
					begun++
				}
				h.spendTheRest(t, daily-1-begun)
			}
		})
	}
}

// revoke has the session's permit called back.
func (h *inHand) revoke(t *testing.T) {
	t.Helper()
	var asking sync.WaitGroup
	asking.Go(func() {
		for t.Context().Err() == nil {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			p, err := h.share.Acquire(ctx, "another party")
			cancel()
			if err == nil {
				p.Release()
				return
			}
		}
	})
	t.Cleanup(asking.Wait)
	waitFor(t, h.workers[0].permit.Revoked(), "revocation")
}

// spendTheRest checks that n more messages are left of the relay's day: what was
// put back was given back.
func (h *inHand) spendTheRest(t *testing.T, n int) {
	t.Helper()
	h.send(t, h.group, "rest", n)
	h.rest(t)
	if h.share.TrySpend() {
		t.Error("more was given back than was taken")
	}
}

// With a second session, what one worker could take before its time is left to
// the other one.
func TestOnlyALoneSessionTakesAThird(t *testing.T) {
	t.Parallel()
	for connections, most := range map[int]int{1: 3, 2: 4} {
		t.Run(fmt.Sprint(connections), func(t *testing.T) {
			t.Parallel()
			slow := smtptest.At(smtptest.StageDot, smtptest.Action{}.Delay(time.Millisecond))
			k := start(t, setting{connections: connections, relay: smtptest.Config{Hook: slow}})
			g := k.Join("c")
			defer g.Leave()
			eventually(t, "all sessions stand", func() bool {
				k.send(t, g, "before", 50)
				k.rest(t)
				_, standing, _ := k.state()
				return standing == connections
			})
			l := newList("l", 200)
			var inHand atomic.Int64
			l.onTake = func() {
				for n := int64(l.underWay() + 1); n > inHand.Load(); {
					inHand.Store(n)
				}
			}
			defer g.Attach(l)()
			l.wait(t)
			if n := inHand.Load(); n > int64(most) || connections == 1 && n < int64(most) {
				t.Errorf("%d in hand, want %d", n, most)
			}
		})
	}
}

// A digest is that of the message which the relay took, though its memory was
// before that of a message which the relay refused, or that was put back.
func TestADigestIsItsMessages(t *testing.T) {
	t.Parallel()
	var dots atomic.Int64
	k := start(t, setting{connections: 1, relay: smtptest.Config{Hook: func(e smtptest.Event) smtptest.Action {
		switch n := dots.Load(); {
		case e.Stage != smtptest.StageDot:
			return smtptest.Action{}
		case !dots.CompareAndSwap(n, n+1) || n%7 == 5:
			return smtptest.Close()
		case n%3 == 1:
			return smtptest.Reply("451 4.3.0 later")
		}
		return smtptest.Action{}
	}}})
	g := k.Join("c")
	defer g.Leave()
	l := newList("l", 40)
	l.putBackTo(g)
	l.firstName = func(i int) string { return fmt.Sprint("Ada", i) }
	defer g.Attach(l)()
	l.wait(t)
	taken := map[string][]byte{}
	for _, m := range k.relay.Messages() {
		digest := sha256.Sum256(m.SHA256[:])
		taken[m.To[0]] = digest[:]
	}
	for _, o := range l.results() {
		if want := taken[l.address(o.Index)]; o.Err == nil && !bytes.Equal(o.Digest, want) {
			t.Errorf("digest of %d is %x, want %x", o.Index, o.Digest, want)
		}
		if o.Err != nil && o.Digest != nil {
			t.Errorf("%d failed and has a digest", o.Index)
		}
	}
}
