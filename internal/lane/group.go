package lane

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/campaign"
	"postern/internal/mailer"
)

// ErrNotStarted is the outcome of a job that the relay was not asked to take:
// it was not begun, or it was held back before its final dot. Nobody is at
// fault, and it costs the recipient nothing.
var ErrNotStarted = errors.New("not started")

// Job is one recipient on its way to a relay.
type Job struct {
	Index     int // the source's name for the recipient
	Recipient campaign.Recipient
	Letter    *mailer.Letter
	From      string // the envelope's sender
	MessageID string
	// MayCommit and MayBegin are those of mailer.Envelope: the first fails
	// once the lease is lost, the second also once the campaign is over. Their
	// errors make the outcome ErrNotStarted.
	MayCommit func() error
	MayBegin  func() error
}

// Outcome is what became of a job.
type Outcome struct {
	Index     int
	MessageID string
	// Digest is the message's (mailer.Message.Digest) where Err is nil.
	Digest []byte
	Reply  mailer.Reply // where Err is nil
	// Err is nil when the relay acknowledged the message; ErrNotStarted; or a
	// *mailer.Error. One of StageDial to StageAuth is about the relay: the
	// job was not begun, and stands for all that wait.
	Err error
	At  time.Time
}

// Source gives jobs out. Workers call it concurrently, and no method may block.
// Whoever calls detach, Stop or Leave holds no lock that Ready or Take need,
// and is not called by them.
type Source interface {
	// Ready says whether Take would give a job now. One that has said no, or
	// whose Take has given none, is asked again after its group's Wake.
	Ready() bool
	// Take gives the next job.
	Take() (Job, bool)
	// Done is called exactly once for each job that Take gave.
	Done(Outcome)
}

// Group is a campaign at work on a lane. Groups are served in turn, one job
// each, whatever the number of their sources. Of a group's sources one is
// served for as long as it has jobs, so that its results are many at a time.
type Group struct {
	lane *Lane
	id   string // the campaign's

	// stopped: nothing more of the group is started.
	stopped atomic.Bool

	// Under the lane's lock.
	sources []*attachment
	turn    int // index of the source to ask first: the one that was served last
}

// attachment is a source in its group.
type attachment struct {
	group *Group

	// Under the lane's lock: wakes counts how often there may be new jobs, and
	// dry is the count at which the source had none. While they differ the
	// source is worth asking.
	wakes, dry uint64

	// mu is held while the source is asked, so that detach can wait.
	mu     sync.Mutex
	source Source
	ended  bool
}

// Attach adds a source to the group. detach takes it out: after it has
// returned no Ready or Take of the source is under way or follows, and Done
// still comes for the jobs taken before. Calling detach again does nothing.
func (g *Group) Attach(s Source) (detach func()) {
	a := &attachment{group: g, source: s}
	l := g.lane
	l.mu.Lock()
	g.sources = append(g.sources, a)
	a.wakes++
	l.mu.Unlock()
	l.signal()
	return a.detach
}

func (a *attachment) detach() {
	l := a.group.lane
	l.mu.Lock()
	a.group.remove(a)
	if l.staying == a.source {
		l.staying = nil
	}
	l.mu.Unlock()
	a.end()
}

// end waits until nobody asks the source, and lets nobody ask it again.
func (a *attachment) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
}

// remove takes a source out of the turn, with the lane's lock held.
func (g *Group) remove(a *attachment) {
	if i := slices.Index(g.sources, a); i >= 0 {
		g.sources = slices.Delete(g.sources, i, i+1)
	}
}

// Wake says that the group's sources may have jobs again. It may be called
// with a source's own lock held.
func (g *Group) Wake() {
	l := g.lane
	l.mu.Lock()
	for _, a := range g.sources {
		a.wakes++
	}
	l.mu.Unlock()
	l.signal()
}

// Stop ends the giving out of the group's jobs, for good: after it has
// returned no Ready or Take of its sources is under way or follows. What has
// been begun goes on. The lane stops a group by itself when an outcome of it
// concerns the whole campaign (mailer.ScopeCampaign), before that outcome's
// Done.
func (g *Group) Stop() {
	g.stopped.Store(true)
	for _, a := range g.attachments() {
		a.end()
	}
}

func (g *Group) attachments() []*attachment {
	g.lane.mu.Lock()
	defer g.lane.mu.Unlock()
	return slices.Clone(g.sources)
}

// Leave stops the group and takes it off the lane.
func (g *Group) Leave() {
	g.Stop()
	l := g.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.groups, g); i >= 0 {
		l.groups = slices.Delete(l.groups, i, i+1)
	}
}

// next gives the source that is worth asking and whose turn it is, with the
// lane's lock held; nil where there is none.
func (g *Group) next() *attachment {
	if g.stopped.Load() {
		return nil
	}
	for i := range g.sources {
		at := (g.turn + i) % len(g.sources)
		if a := g.sources[at]; a.wakes != a.dry {
			g.turn = at
			return a
		}
	}
	return nil
}

func (a *attachment) take() (Job, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended || a.group.stopped.Load() {
		return Job{}, false
	}
	return a.source.Take()
}

func (a *attachment) ready() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.ended && !a.group.stopped.Load() && a.source.Ready()
}
