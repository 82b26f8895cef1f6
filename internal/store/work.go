package store

import (
	"context"
	"time"

	"postern/internal/campaign"
)

// LeaseKey names a unit of leased work. Number 0 is the campaign's control
// lease: freezing the audience, then seeing the campaign to its end. Numbers
// from 1 are the chunks of its audience.
type LeaseKey struct {
	CampaignID string
	Number     int
}

// Lease is the state of a unit of work and of who works on it.
//
// Fence rises by one at each acquisition. Version rises by one at every
// write, acquisition included, so a watcher that sees an unchanged version
// for the lease time, on its own monotonic clock, may take the lease over.
// Each method below that takes a held lease writes under the condition that
// Fence and Version are still those of its argument, and returns the lease as
// it is then (Version + 1). When they are not, and the write that changed
// them was not this very call's own (see the package comment), it returns
// CodeConflict: the lease is lost.
type Lease struct {
	Key     LeaseKey
	Owner   string // "" when free
	Fence   int64
	Version int64
	// DueAt is when the work may be taken up: HeldDue while the lease has an
	// owner, zero when Closed.
	DueAt time.Time
	// Closed: nothing is to be done; the lease is in no DueLeases answer and
	// cannot be acquired. A chunk with open recipients is shelved: its
	// campaign is not to be worked on until a Restart.
	Closed bool

	// Freeze and Reopen are the control lease's state; zero in chunks.
	Freeze Freeze
	Reopen Reopen
	// Size is the number of recipients of a chunk; 0 in the control lease.
	Size int
	// Progress is the chunk's state; zero in the control lease.
	Progress campaign.Progress
}

// Freeze is how far the freezing of an audience is.
type Freeze struct {
	Cursor string // of the listing of contacts; the engine's to interpret
	Chunks int    // chunks stored so far; they have the numbers 1..Chunks
	Final  bool   // no chunk will be added
}

// Reopen is how far the taking up of shelved chunks after a Restart is.
type Reopen struct {
	// Next is the number of the chunk to look at next; 0 when nothing is to
	// be reopened.
	Next int
	// States are terminal states whose recipients are to be mailed again, in
	// the chunks from StatesFrom on.
	States     []campaign.DeliveryState
	StatesFrom int
}

// HeldDue is the due time of a lease that has an owner: earlier than any
// other, so that a reader of due leases sees all held ones first and can watch
// over them.
var HeldDue = time.UnixMilli(0).UTC()

// Chunk is a piece of audience to store. Its number is the control lease's
// Freeze.Chunks + 1.
type Chunk struct {
	Size   int
	Packed []byte // campaign.Audience.Pack, at most MaxChunkOctets
	DueAt  time.Time
}

// MaxChunkOctets bounds a packed chunk, well below the 400 KB of a DynamoDB
// item; MaxChunkRecipients bounds its recipients.
const (
	MaxChunkOctets     = 300 << 10
	MaxChunkRecipients = 1000
)

// Checkpoint is what a worker has found out about a chunk since the last one.
type Checkpoint struct {
	// Deliveries are the rows to write, at most MaxCheckpoint, with distinct
	// indexes. Terminal ones were not settled before; pending ones are
	// written too where there is something to tell (none is required).
	Deliveries []campaign.Delivery
	// Progress is the chunk's whole new progress: the terminal deliveries
	// are in its Settled set. Its Chain is the store's to keep.
	Progress campaign.Progress
	// Finish: all recipients are settled by this, so the chunk is closed and
	// counted as done in the same write, as FinishChunk does.
	Finish bool
}

// MaxCheckpoint is the largest number of deliveries in a checkpoint: a
// DynamoDB transaction has 100 items at most, three of which are the lease, the
// totals and the link of the audit trail.
const MaxCheckpoint = 97

// Work keeps leases, audiences and deliveries.
type Work interface {
	// DueLeases names up to limit leases that are not closed and due at now.
	// Held ones come first, all of them as far as three quarters of the limit
	// allow, then free ones. Where there are more of a kind than have a place,
	// they take turns from call to call, so that none starves. It is a hint:
	// it may miss the writes of the last seconds and name leases that are not
	// due any more.
	DueLeases(ctx context.Context, now time.Time, limit int) ([]LeaseKey, error)

	// GetLease gives a lease. CodeNotFound.
	GetLease(ctx context.Context, key LeaseKey) (Lease, error)

	// AcquireLease makes owner, which names one start of one task and is
	// never used again, the holder, if the lease is still as seen. The caller
	// has made sure that the lease is free or that its holder is gone. It
	// returns the lease as it is then: Fence + 1, Version + 1, DueAt = HeldDue.
	// CodeConflict when the lease was changed or closed meanwhile;
	// CodeNotFound.
	AcquireLease(ctx context.Context, seen Lease, owner string) (Lease, error)

	// RenewLease tells watchers that the holder lives.
	RenewLease(ctx context.Context, held Lease) (Lease, error)

	// ReleaseLease makes the lease free, to be taken up from dueAt on.
	ReleaseLease(ctx context.Context, held Lease, dueAt time.Time) (Lease, error)

	// CloseLease ends the work on a lease, or shelves it, for a campaign that
	// is not to be worked on: under the further condition that the campaign's
	// status is still the one given, or that there is no such campaign. When
	// that does not hold it returns CodeConflict too, and the lease is held as
	// before: GetLease tells.
	CloseLease(ctx context.Context, held Lease, status campaign.Status) (Lease, error)

	// AddChunk stores a chunk with its free lease, adds its Size and itself
	// to the totals, and moves the control lease's Freeze.Cursor to cursor
	// and Freeze.Chunks up by one, all together.
	AddChunk(ctx context.Context, control Lease, chunk Chunk, cursor string) (Lease, error)

	// FinishFreeze marks the control lease's Freeze and the totals Final.
	FinishFreeze(ctx context.Context, control Lease) (Lease, error)

	// ReopenChunk takes up again what is shelved, and moves the control
	// lease's Reopen on: Next + 1, or the zero Reopen behind the last of
	// Freeze.Chunks. It is called while Reopen.Next is not 0.
	//
	// Where the chunk Reopen.Next is closed, the settled recipients whose rows
	// have one of Reopen.States are open again (from StatesFrom on): they
	// leave Settled and Intents, and the totals of their states; their rows
	// stay until the next result. When the chunk has open recipients then, or
	// is not finished (Absorb has settled the last of what was shelved), its
	// lease is free and due at dueAt, Version + 1. If it was finished, the
	// totals do not count it as done any more. Who is open again leaves
	// Counted. A finished chunk without open recipients is left alone.
	//
	// An open chunk, held or free, is left alone but for a free one's DueAt,
	// which becomes dueAt where it is later (Version + 1). All of this
	// together. It returns the control lease as it is then.
	ReopenChunk(ctx context.Context, control Lease, dueAt time.Time) (Lease, error)

	// GetAudience gives a chunk's packed audience. CodeNotFound.
	GetAudience(ctx context.Context, key LeaseKey) ([]byte, error)

	// Checkpoint stores the deliveries, the chunk's progress and the totals
	// (each terminal delivery counts once) together, and finishes the chunk
	// where it says so.
	Checkpoint(ctx context.Context, held Lease, cp Checkpoint) (Lease, error)

	// Absorb records messages that a relay has acknowledged under a lease that
	// was lost since: sent is accepted from any fence. Each of the deliveries
	// (state sent, distinct indexes, at most MaxCheckpoint) whose recipient is
	// not sent already gets its row, the recipient is settled and in none of
	// Deferred, Intents and Counted, and the totals move: one more sent, and one less of
	// the state that a settled recipient had. The lease keeps owner and fence;
	// its version rises when anything was written, so a holder whose write
	// fails with CodeConflict reads the lease again, and goes on with it as it
	// is then where owner and fence are still its own. It does not hide a write
	// that the holder had made before: that is recognised as ever when it is
	// repeated, and returns the lease as it is then. Closed leases too, and
	// they stay closed. A chunk all of whose recipients are settled by this is
	// left to its next holder to finish. The row of a recipient who is erased
	// from the audience, or whose audience is gone, has neither Address nor Reply
	// nor MessageID; the audit trail keeps its digests. A repeated call changes
	// nothing.
	// CodeNotFound.
	Absorb(ctx context.Context, key LeaseKey, sent []campaign.Delivery) error

	// CountSent counts each of the messages (any number) with its contact, or
	// passes over one that is gone: EmailCount + 1, LastEmailSent = At,
	// LastCampaign = the campaign, unless it is that already, so that
	// duplicates count once. It needs no lease. On an error some are counted; a
	// repeated call counts those twice whom another campaign reached meanwhile.
	CountSent(ctx context.Context, campaignID string, sent []Sent) error

	// MarkCounted notes with a closed chunk that the statistics have all of
	// those whom its lease as seen had settled: Progress.Counted becomes
	// Progress.Settled. Nobody holds the lease, so its condition is that the
	// lease is still as seen, and closed; CodeConflict when it is not.
	// A repeated call is recognised until the next write to the lease.
	// CodeNotFound.
	MarkCounted(ctx context.Context, seen Lease) (Lease, error)

	// FinishChunk closes a chunk all of whose recipients are settled, and
	// counts it as done in the totals. Progress stays.
	FinishChunk(ctx context.Context, held Lease) (Lease, error)

	// Deliveries gives all stored deliveries of a chunk, by index.
	Deliveries(ctx context.Context, key LeaseKey) ([]campaign.Delivery, error)
}

// Sent is a message that a relay has acknowledged, for its contact's
// statistics.
type Sent struct {
	Key string // of the contact
	At  time.Time
}
