package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"postern/internal/campaign"
	"postern/internal/mailer"
)

// job is one recipient on its way to a relay. Exactly one outcome follows.
type job struct {
	// ctx ends when the job must not be started any more.
	ctx       context.Context //nolint:containedctx // crosses a channel with the job
	run       *run
	index     int // in the chunk
	recipient campaign.Recipient
	// mayCommit fails when the lease is lost; see mailer.Envelope.
	mayCommit func() error
	outcomes  chan<- outcome
}

// outcome is what became of a job.
type outcome struct {
	index     int
	messageID string
	reply     mailer.Reply
	// err is nil when the relay acknowledged the message; errPutBack when
	// the job was not started; else a *mailer.Error.
	err error
	at  time.Time
}

// errPutBack: the job was not started, or found out nothing.
var errPutBack = errors.New("not started")

// lane is the way to one relay: its pool of sessions, a worker for each, its
// gate and its rate. All chunks of all campaigns of the relay feed one
// channel, which serves them in turn.
type lane struct {
	relay mailer.Relay
	pool  *mailer.Pool
	// connections is how many there may be, and the number of workers.
	connections int
	gate        *gate
	limiter     *rate.Limiter
	giveUp      time.Duration
	metrics     *metrics
	label       string // the relay's in metrics
	log         zerolog.Logger
	now         func() time.Time

	mu      sync.Mutex
	trouble string // with the relay as a whole; "" for none
	losses  int    // connections lost in a row
	staying *chunk // the one chunk that waits at the gate while there is trouble

	jobs    chan job
	stop    context.CancelFunc
	workers sync.WaitGroup
}

// start runs a worker for each connection. sending is the context of messages
// under way: its end cuts them off.
func (l *lane) start(sending context.Context) {
	feeding, stop := context.WithCancel(sending)
	l.stop = stop
	for range l.connections {
		l.workers.Go(func() { l.work(feeding, sending) })
	}
}

// close ends the workers, which are idle by now, and the sessions.
func (l *lane) close() {
	l.stop()
	l.workers.Wait()
	l.pool.Close()
}

func (l *lane) work(feeding, sending context.Context) {
	var msg mailer.Message
	for {
		select {
		case <-feeding.Done():
			return
		case j := <-l.jobs:
			j.outcomes <- l.do(sending, j, &msg)
		}
	}
}

// do waits for the relay's gate and rate, then sends.
func (l *lane) do(sending context.Context, j job, msg *mailer.Message) outcome {
	o := outcome{index: j.index}
	probe, err := l.gate.pass(j.ctx)
	if err == nil {
		err = l.limiter.Wait(j.ctx)
	}
	if err == nil {
		err = j.run.ctx.Err() // the message before may have ended the campaign
	}
	if err != nil {
		l.gate.abandon(probe)
		o.err = errPutBack
		return o
	}
	c := j.run.campaign
	o.messageID = mailer.MessageID(c.ID, j.recipient.Address, c.Letter.From.Address)
	if o.err = j.run.letter.Render(msg, j.recipient, o.messageID); o.err == nil {
		o.reply, o.err = l.send(sending, j, msg)
	}
	o.at = l.now()
	l.judge(j, &o, probe)
	l.metrics.attempt(l.label, o.err)
	return o
}

func (l *lane) send(ctx context.Context, j job, msg *mailer.Message) (mailer.Reply, error) {
	s, err := l.pool.Get(j.ctx)
	if err != nil && j.ctx.Err() != nil {
		return mailer.Reply{}, errPutBack // called off: nobody's fault
	}
	if err != nil {
		return mailer.Reply{}, asRelayTrouble(err)
	}
	defer l.pool.Put(s)
	e := mailer.Envelope{From: j.run.campaign.Letter.From.Address, To: j.recipient.Address, MayCommit: j.mayCommit}
	return s.Send(ctx, e, msg)
}

// asRelayTrouble: a connection that does not even open says something about
// the relay, not about one connection.
func asRelayTrouble(err error) error {
	me, ok := errors.AsType[*mailer.Error](err)
	if !ok || me.Scope != mailer.ScopeSession {
		return err
	}
	widened := *me
	widened.Scope = mailer.ScopeRelay
	return &widened
}

// maxLosses is how many connections may be lost in a row, for each that the
// lane may have, before the relay as a whole is in trouble.
const maxLosses = 2

// judge tells the gate what an outcome says about the relay, and turns
// trouble that has lasted for too long into the campaign's failure. A campaign
// that has failed is stopped here, before another worker takes a recipient of
// it; its chunk makes the failure durable.
func (l *lane) judge(j job, o *outcome, probe bool) {
	me, ok := errors.AsType[*mailer.Error](o.err)
	switch {
	case o.err == nil, ok && me.Scope == mailer.ScopeRecipient && me.Stage != mailer.StageLetter:
		l.works()
	case ok && me.Scope == mailer.ScopeRelay, ok && l.lost(me) && (probe || l.tooManyLosses()):
		since := l.fails(me, probe)
		if me.Scope == mailer.ScopeRelay && time.Since(since) >= l.giveUp && l.now().Sub(j.run.campaign.CreatedAt) >= l.giveUp {
			o.err = l.tooLong(me)
			j.run.over(errCampaignOver)
		}
	case ok && me.Scope == mailer.ScopeCampaign:
		j.run.over(errCampaignOver)
		l.gate.abandon(probe)
	default:
		l.gate.abandon(probe)
	}
}

// lost says whether the relay has let a connection down, and counts it.
func (l *lane) lost(me *mailer.Error) bool {
	if me.Scope != mailer.ScopeSession || errors.Is(me, errLeaseLost) || errors.Is(me, context.Canceled) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.losses++
	return true
}

func (l *lane) tooManyLosses() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.losses > maxLosses*l.connections
}

// works notes that the relay answers as it should.
func (l *lane) works() {
	l.gate.succeed()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.losses = 0
	if l.trouble != "" {
		l.log.Info().Str("relay", l.relay.Addr()).Msg("the relay works again")
		l.trouble = ""
	}
}

// fails notes trouble of the relay as a whole and says since when there is.
func (l *lane) fails(me *mailer.Error, probe bool) (since time.Time) {
	since = l.gate.fail(probe)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.trouble == "" {
		l.trouble = fmt.Sprintf("relay %s is in trouble: %s; trying again", l.relay.Addr(), me)
		l.log.Warn().Str("relay", l.relay.Addr()).Msg(withoutAddresses(l.trouble))
	}
	return since
}

// notice is what campaigns on the lane should tell: trouble, "" when the
// relay has worked, and known false when neither is known yet.
func (l *lane) notice() (text string, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trouble, l.trouble != "" || l.gate.isOpen()
}

// mayStay says whether c is the chunk that keeps its place while the relay is
// in trouble, to probe it. The others give their places to campaigns of other
// relays.
func (l *lane) mayStay(c *chunk) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.staying == nil {
		l.staying = c
	}
	return l.staying == c
}

// left notes that c is done.
func (l *lane) left(c *chunk) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.staying == c {
		l.staying = nil
	}
}

// tooLong makes trouble of the relay the campaign's failure.
func (l *lane) tooLong(me *mailer.Error) *mailer.Error {
	return &mailer.Error{
		Stage: me.Stage, Scope: mailer.ScopeCampaign, Code: me.Code, Enhanced: me.Enhanced, Err: me,
		Text: fmt.Sprintf("%s (for longer than %s)", me.Text, l.giveUp),
	}
}
