package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"postern/internal/campaign"
	"postern/internal/mailer"
	"postern/internal/store"
)

const (
	// flushAfter is how long a result waits for others to be recorded with.
	flushAfter = 50 * time.Millisecond
	// maxPutBacks: a recipient with whom connections break this often is
	// deferred as if the relay had refused it, lest it go round for ever.
	maxPutBacks = 3
)

// chunk is one chunk at work: a single goroutine that feeds the lane, takes
// the outcomes, and has them recorded in batches while it feeds on.
type chunk struct {
	e    *Engine
	run  *run
	hold *holder
	// feeding ends when nothing more of the chunk must be started: its cause
	// is errLeaseLost, errCampaignOver, errParked, or the task's stop.
	feeding   context.Context //nolint:containedctx // a lifetime, not a call's
	parkedFor time.Duration   // with the cause errParked: until the relay's next probe
	audience  campaign.Audience

	ready    []int // to be sent, the next one last
	putBacks map[int]int
	inFlight int
	outcomes chan outcome

	progress campaign.Progress // as of the last batch handed to the store
	deferred map[int]campaign.Deferred
	moved    bool // deferred differs from progress.Deferred

	unsaved []campaign.Delivery // results not yet handed to the store
	oldest  time.Time           // when the first of them came
	saving  []campaign.Delivery // the batch that the store has now
	saved   chan error

	sent []string // contacts whose statistics change
}

// workChunk sends what is open in a leased chunk and gives the lease back.
func (e *Engine) workChunk(lease store.Lease, asked time.Time) {
	feeding, hold, letGo := e.hold(lease, asked)
	defer letGo()
	r, release, err := e.openRun(feeding, lease.Key.CampaignID)
	if err != nil {
		e.giveUpHeld(hold, err)
		return
	}
	defer release()
	unlink := context.AfterFunc(r.ctx, func() { hold.end(context.Cause(r.ctx)) })
	defer unlink()
	c := &chunk{
		e: e, run: r, hold: hold, feeding: feeding,
		putBacks: map[int]int{}, deferred: map[int]campaign.Deferred{},
		progress: lease.Progress.Clone(), saved: make(chan error, 1),
	}
	defer r.lane.left(c)
	if err := c.prepare(e.working); err != nil {
		e.giveUpHeld(hold, err)
		return
	}
	if c.loop() {
		c.end()
	}
}

// prepare reads the audience, sorts out who is to be mailed now, and
// suppresses those who must not be mailed any more.
func (c *chunk) prepare(ctx context.Context) error {
	lease := c.hold.current()
	packed, err := c.e.store.GetAudience(ctx, lease.Key)
	if err != nil {
		return err
	}
	if c.audience, err = campaign.UnpackAudience(packed); err != nil {
		return err
	}
	c.outcomes = make(chan outcome, len(c.audience.Recipients))
	if c.progress.Settled == nil {
		c.progress.Settled = campaign.NewBitmap(lease.Size)
	}
	now := c.e.cfg.Now()
	for _, d := range c.progress.Deferred {
		c.deferred[d.Index] = d
	}
	// Backwards: the end of ready is taken first.
	for i := range slices.Backward(c.audience.Recipients) {
		d, waits := c.deferred[i]
		if !c.progress.Settled.Has(i) && (!waits || !d.Next.After(now)) {
			c.ready = append(c.ready, i)
		}
	}
	if err := c.recallSent(ctx, lease); err != nil {
		return err
	}
	return c.suppress(ctx)
}

// recallSent finds the contacts that earlier holders of the lease have sent
// to, for the statistics at the end.
func (c *chunk) recallSent(ctx context.Context, lease store.Lease) error {
	if !slices.ContainsFunc(c.progress.Settled, func(b byte) bool { return b != 0 }) {
		return nil
	}
	rows, err := c.e.store.Deliveries(ctx, lease.Key)
	if err != nil {
		return err
	}
	for _, d := range rows {
		if d.State == campaign.DeliverySent {
			c.sent = append(c.sent, campaign.Key(d.Address))
		}
	}
	return nil
}

// suppress settles those who may not be mailed as of now: consent can be
// withdrawn, and a contact erased, between freezing and sending.
func (c *chunk) suppress(ctx context.Context) error {
	keys := make([]string, len(c.ready))
	for i, index := range c.ready {
		keys[i] = campaign.Key(c.audience.Recipients[index].Address)
	}
	contacts, err := c.e.store.GetContacts(ctx, keys)
	if err != nil {
		return err
	}
	status := make(map[string]campaign.ContactStatus, len(contacts))
	for i := range contacts {
		status[contacts[i].Key()] = contacts[i].Status
	}
	open := c.ready[:0]
	for i, index := range c.ready {
		switch s, there := status[keys[i]]; {
		case !there:
			c.settle(index, campaign.Delivery{State: campaign.DeliverySuppressed, Reply: "the contact was deleted"})
		case s != campaign.ContactActive:
			c.settle(index, campaign.Delivery{State: campaign.DeliverySuppressed, Reply: "the contact is " + string(s)})
		default:
			open = append(open, index)
		}
	}
	c.ready = open
	return nil
}

// loop runs until nothing is ready, in flight or unrecorded; or, once feeding
// has ended, until nothing is in flight or unrecorded. It says whether all was
// recorded: if not, the lease is not to be written any more.
func (c *chunk) loop() (recorded bool) {
	flush := time.NewTimer(time.Hour)
	defer flush.Stop()
	stopped := c.feeding.Done()
	for {
		if c.feeding.Err() != nil {
			c.ready, stopped = nil, nil
		}
		c.parkInTrouble()
		jobs, next, full := c.offer()
		c.save(full != nil || len(c.ready) == 0 && c.inFlight == 0)
		if len(c.ready) == 0 && c.inFlight == 0 && c.saving == nil {
			return true
		}
		flush.Reset(flushAfter)
		select {
		case jobs <- next:
			c.ready = c.ready[:len(c.ready)-1]
			c.inFlight++
		case o := <-c.outcomes:
			c.inFlight--
			c.take(o)
		case err := <-c.saved:
			lost := countSent(c.saving)
			if c.recorded(err); err != nil {
				c.abandon(lost)
				return false
			}
		case <-full:
		case <-flush.C:
		case <-stopped:
		}
	}
}

// errParked is the cause of a chunk's end while its relay is in trouble.
var errParked = errors.New("the relay is in trouble")

// parkInTrouble ends the feeding of a chunk that would only wait for a relay in
// trouble, unless it is the one that stays to probe it.
func (c *chunk) parkInTrouble() {
	wait, trouble := c.run.lane.gate.troubled()
	if trouble && c.feeding.Err() == nil && !c.run.lane.mayStay(c) {
		c.parkedFor = wait
		c.hold.end(errParked)
	}
}

// offer gives the next job and the lane to offer it to. There is none while
// the lease is past its deadline because the store is out of reach, nor while
// too many acknowledged messages wait to be recorded; full says when the
// latter changes.
func (c *chunk) offer() (lane chan<- job, next job, full <-chan struct{}) {
	if len(c.ready) == 0 || c.hold.valid() != nil {
		return nil, job{}, nil
	}
	if full := c.e.window.room(); full != nil {
		return nil, job{}, full
	}
	index := c.ready[len(c.ready)-1]
	return c.run.lane.jobs, job{
		ctx: c.feeding, run: c.run, index: index, recipient: c.audience.Recipients[index],
		mayCommit: c.hold.valid, outcomes: c.outcomes,
	}, nil
}

// save hands the next batch to the store when it is full, old enough, or
// must go now.
func (c *chunk) save(now bool) {
	if c.saving != nil || len(c.unsaved) == 0 && !c.moved {
		return
	}
	if !now && len(c.unsaved) < store.MaxCheckpoint && (len(c.unsaved) == 0 || time.Since(c.oldest) < flushAfter) {
		return
	}
	n := min(len(c.unsaved), store.MaxCheckpoint)
	c.saving = slices.Clone(c.unsaved[:n])
	if c.saving == nil {
		c.saving = []campaign.Delivery{} // deferrals alone
	}
	c.unsaved = append(c.unsaved[:0], c.unsaved[n:]...)
	c.oldest = time.Now()
	for _, d := range c.saving {
		c.progress.Settled.Add(d.Index)
	}
	c.progress.Deferred = sortedDeferred(c.deferred)
	c.moved = false
	cp := store.Checkpoint{Deliveries: c.saving, Progress: c.progress.Clone()}
	go func() {
		began := time.Now()
		err := c.hold.write(c.e.working, func(ctx context.Context, held store.Lease) (store.Lease, error) {
			return c.e.store.Checkpoint(ctx, held, cp)
		})
		c.e.metrics.checkpoints.Observe(time.Since(began).Seconds())
		c.saved <- err
	}()
}

func sortedDeferred(m map[int]campaign.Deferred) []campaign.Deferred {
	all := make([]campaign.Deferred, 0, len(m))
	for _, d := range m {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b campaign.Deferred) int { return a.Index - b.Index })
	return all
}

// recorded takes the batch off the window, whatever became of it.
func (c *chunk) recorded(err error) {
	c.e.window.done(countSent(c.saving))
	if err == nil {
		c.e.metrics.recorded(c.saving)
	}
	c.saving = nil
}

// abandon lets go of a chunk whose results cannot be recorded here any more:
// the lease is lost, or the stop time-out has cut the store off. lost are the
// messages of the batch that could not be recorded.
func (c *chunk) abandon(lost int) {
	for c.inFlight > 0 {
		o := <-c.outcomes
		c.inFlight--
		if o.err == nil {
			c.unsaved = append(c.unsaved, campaign.Delivery{State: campaign.DeliverySent})
			c.e.window.add()
		} else if me, ok := errors.AsType[*mailer.Error](o.err); ok && me.Scope == mailer.ScopeCampaign {
			c.campaignFails(me)
		}
	}
	unsaved := countSent(c.unsaved)
	c.e.window.done(unsaved)
	c.unsaved = nil
	key := c.hold.current().Key
	c.e.log.Warn().Str("campaign", key.CampaignID).Int("chunk", key.Number).Int("unrecorded", lost+unsaved).
		Msg("the chunk's lease is lost; messages acknowledged and not recorded will be sent again")
}

func countSent(ds []campaign.Delivery) (n int) {
	for i := range ds {
		if ds[i].State == campaign.DeliverySent {
			n++
		}
	}
	return n
}
