package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"postern/internal/campaign"
	"postern/internal/lane"
	"postern/internal/mailer"
	"postern/internal/store"
)

const (
	// flushAfter is how long a result waits for others to be recorded with,
	// flushMost how long while the store is busy.
	flushAfter = 50 * time.Millisecond
	flushMost  = time.Second
	// wakeAt is how many outcomes wake the chunk's goroutine before the next
	// flush, so that it does not run once for each message.
	wakeAt = 24
	// maxPutBacks: a recipient with whom connections break this often is
	// deferred as if the relay had refused it, lest it go round for ever.
	maxPutBacks = 3
)

// chunk is one chunk at work. It is the lane's source of recipients; a single
// goroutine takes the outcomes and has them recorded in batches meanwhile.
type chunk struct {
	e    *Engine
	run  *run
	hold *holder
	// feeding ends when nothing more of the chunk must be started: its cause
	// is errLeaseLost, errCampaignOver, errParked, or the task's stop.
	feeding   context.Context //nolint:containedctx // a lifetime, not a call's
	parkedFor time.Duration   // with the cause errParked: until the relay's next probe
	began     time.Time       // monotonic
	// ahead is how far the wall clock has been set back since the chunk's due
	// time was written.
	ahead    time.Duration
	audience campaign.Audience
	letter   *mailer.Letter
	persons  *persons

	// What the lane's workers share with the chunk's goroutine.
	mu       sync.Mutex
	ready    []int // may be sent now, the next one last
	inFlight int
	outcomes []lane.Outcome
	waiting  int           // results that are in no batch yet
	signal   chan struct{} // outcomes wait
	// refused: a worker was turned away, and must be told when there is
	// something to take. It stays until that is done: another worker's success
	// tells the first one nothing.
	refused bool

	// The goroutine's own.
	intents  *intents // nil unless the campaign is at-most-once
	putBacks map[int]int
	attempts map[int]int       // of earlier passes, before a retry
	progress campaign.Progress // as the store has it
	deferred map[int]campaign.Deferred
	moved    bool // deferred or intents differ from what the store has
	sent     bool // a message, at least: its relay takes them

	unsaved []campaign.Delivery // results not yet handed to the store
	oldest  time.Time           // when the first of them came
	saving  *batch              // what the store has now; nil for nothing
	saved   chan error
}

// acquired is how a chunk's lease was come by: when it was asked for, and
// since when it was due.
type acquired struct {
	asked time.Time // monotonic
	due   time.Time
}

// workChunk sends what is open in a leased chunk and gives the lease back.
func (e *Engine) workChunk(lease store.Lease, a acquired) {
	feeding, hold, letGo := e.hold(lease, a.asked)
	defer letGo()
	r, release, err := e.openRun(feeding, lease.Key.CampaignID)
	if err != nil {
		e.giveUpHeld(hold, err)
		return
	}
	unlink := context.AfterFunc(r.ctx, func() { hold.end(context.Cause(r.ctx)) })
	defer unlink()
	c := &chunk{
		e: e, run: r, hold: hold, feeding: feeding, began: time.Now(), signal: make(chan struct{}, 1),
		putBacks: map[int]int{}, attempts: map[int]int{}, deferred: map[int]campaign.Deferred{},
		progress: lease.Progress.Clone(), saved: make(chan error, 1),
	}
	defer func() { e.linger(c.parkedFor, release) }()
	if r.campaign.Promise == campaign.AtMostOnce {
		c.intents = newIntents(e.intents)
		defer c.intents.close()
	}
	if !c.fetchLetter() {
		return
	}
	defer e.leaveLetter(c)
	if err := c.prepare(e.working, a.due); err != nil {
		e.giveUpHeld(hold, err)
		return
	}
	e.claims.mayYield(lease.Key, func() { hold.end(errYielded) })
	if c.loop() {
		c.end()
	}
}

// errYielded is the cause of a chunk's end when another campaign needs the
// place, or the letter's memory.
var errYielded = errors.New("another campaign has no place")

// linger releases the run of a parked chunk only after the relay's next probe,
// so that what is known of the relay is not forgotten meanwhile.
func (e *Engine) linger(parkedFor time.Duration, release func()) {
	if parkedFor == 0 || parkedFor > lingerMax {
		release()
		return
	}
	e.background.Go(func() {
		defer release()
		// The error is the task's stop, which ends the run as well.
		_ = sleep(e.feeding, parkedFor+storeRetryMax)
	})
}

// lingerMax is longer than a relay's probes are apart, and shorter than the
// waits for a day's budget.
const lingerMax = 2 * time.Minute

// mayBegin fails when no further message of the chunk may be begun.
func (c *chunk) mayBegin() error {
	if c.feeding.Err() != nil {
		return context.Cause(c.feeding)
	}
	return c.hold.valid()
}

// Ready implements lane.Source.
func (c *chunk) Ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mayTake()
}

// mayTake asks, with the lock held, whether a recipient may be given out. None
// may be while the lease is past its deadline because the store is out of
// reach, nor while too many messages are under way or wait to be recorded, of
// the task or of what the next batch takes: it is another chunk's turn then,
// or all of them would have batches that are not full.
func (c *chunk) mayTake() bool {
	if len(c.ready) == 0 {
		return false
	}
	full := c.inFlight+len(c.outcomes)+c.waiting >= c.e.recorder.turn
	if full || c.e.window.room() != nil || c.mayBegin() != nil {
		c.refused = true
		return false
	}
	return true
}

// Take implements lane.Source.
func (c *chunk) Take() (lane.Job, bool) {
	index, ok := c.next()
	if !ok {
		return lane.Job{}, false
	}
	recipient, from := c.audience.Recipients[index], c.run.campaign.Letter.From.Address
	return lane.Job{
		Index: index, Recipient: recipient, Letter: c.letter, From: from,
		MessageID: c.run.messageIDs.Of(recipient.Address),
		MayBegin:  c.mayBegin, MayCommit: c.hold.valid,
	}, true
}

func (c *chunk) next() (index int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.mayTake() || c.e.window.take(1) == 0 {
		c.refused = true
		return 0, false
	}
	last := len(c.ready) - 1
	index, c.ready = c.ready[last], c.ready[:last]
	c.inFlight++
	return index, true
}

// Done implements lane.Source.
func (c *chunk) Done(o lane.Outcome) {
	if o.Err != nil {
		c.e.window.done(1) // nothing to be repeated
	}
	c.mu.Lock()
	c.outcomes = append(c.outcomes, o)
	c.inFlight--
	wake := o.Err != nil || len(c.outcomes) >= wakeAt || c.inFlight == 0 || len(c.ready) == 0
	c.mu.Unlock()
	if wake {
		select {
		case c.signal <- struct{}{}:
		default: // it is going to look anyway
		}
	}
}

// loop runs until nothing is ready, in flight or unrecorded; or, once feeding
// has ended, until nothing is in flight or unrecorded. It says whether all was
// recorded: if not, the lease is not to be written any more.
func (c *chunk) loop() (recorded bool) {
	detach := sync.OnceFunc(c.run.group.Attach(c))
	defer detach()
	flush := time.NewTimer(time.Hour)
	defer flush.Stop()
	stopped := c.feeding.Done()
	for {
		if c.feeding.Err() != nil && stopped != nil {
			detach()
			c.stopFeeding()
			stopped = nil
		}
		c.collect()
		c.parkInTrouble()
		full := c.blocked()
		c.save(full != nil)
		c.callBack()
		if c.idle() {
			return true
		}
		flush.Reset(flushAfter)
		select {
		case <-c.signal:
		case err := <-c.saved:
			if err != nil {
				c.e.recorder.end(c.saving.began)
				detach()
				c.abandon()
				return false
			}
			c.recorded()
		case <-full:
		case <-c.intentRoom():
		case <-flush.C:
		case <-stopped:
		}
	}
}

// stopFeeding drops what has not been given out. Intents of these recipients
// are withdrawn with the next batch.
func (c *chunk) stopFeeding() {
	c.mu.Lock()
	dropped := c.ready
	c.ready = nil
	c.mu.Unlock()
	if c.intents != nil {
		c.intents.drop(dropped...)
		c.moved = true
	}
}

// collect takes the outcomes that have come.
func (c *chunk) collect() {
	c.mu.Lock()
	outcomes := c.outcomes
	c.outcomes = nil
	c.mu.Unlock()
	for i := range outcomes {
		c.take(&outcomes[i])
	}
	c.countWaiting()
}

// countWaiting tells the lane's workers how many results wait.
func (c *chunk) countWaiting() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = len(c.unsaved)
}

// callBack wakes the lane's workers when one was turned away and would not be
// any more.
func (c *chunk) callBack() {
	c.mu.Lock()
	again := c.refused && c.mayTake()
	if again {
		c.refused = false
	}
	c.mu.Unlock()
	if again {
		c.run.group.Wake()
	}
}

// blocked gives a channel when recipients wait for room in the window.
func (c *chunk) blocked() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ready) == 0 {
		return nil
	}
	return c.e.window.room()
}

// intentRoom gives a channel when recipients wait for room among the task's
// intents.
func (c *chunk) intentRoom() <-chan struct{} {
	if c.intents == nil || !c.intents.waiting() {
		return nil
	}
	return c.intents.window.room()
}

// idle says whether nothing is left to do but to give the lease back.
func (c *chunk) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := c.intents != nil && c.feeding.Err() == nil && c.intents.waiting()
	return !waiting && len(c.ready) == 0 && c.inFlight == 0 && len(c.outcomes) == 0 &&
		len(c.unsaved) == 0 && c.saving == nil && !c.moved
}

// putBack makes a recipient ready again, behind the others, so that one whom
// the relay stumbles over does not stand in their way.
func (c *chunk) putBack(index int) {
	if c.feeding.Err() != nil {
		if c.intents != nil {
			c.intents.drop(index)
			c.moved = true
		}
		return
	}
	c.mu.Lock()
	c.ready = slices.Insert(c.ready, 0, index)
	c.mu.Unlock()
	c.run.group.Wake()
}

// errParked is the cause of a chunk's end while its relay is in trouble.
var errParked = errors.New("the relay is in trouble")

// stayFor is how long a chunk stays to probe a relay in trouble before another
// task has its turn: it may be this task's way to the relay that is broken.
const stayFor = 30 * time.Second

// parkInTrouble ends the feeding of a chunk that would only wait for a relay in
// trouble, unless it is the one that stays to probe it.
func (c *chunk) parkInTrouble() {
	trouble := c.run.lane.Trouble()
	if !trouble.Parked || c.feeding.Err() != nil || c.stays() {
		return
	}
	c.parkedFor = trouble.NextProbe
	// The run may end with this chunk, before its own first look.
	c.e.noteTrouble(c.run.campaign, trouble)
	c.hold.end(errParked)
}

func (c *chunk) stays() bool {
	return c.run.lane.MayStay(c) && (c.e.cfg.ExclusiveStore || time.Since(c.began) < stayFor)
}
