// Package store is the contract between Postern and where its state lives.
// Two packages below it keep the contract, and storetest holds both to it.
//
// # Contract
//
// Durable: when a method that writes returns nil, its write survives the
// immediate death of the process (and, in DynamoDB, of the machine).
//
// Atomic: a method that writes does all that its comment says or nothing,
// except where the comment says otherwise.
//
// Consistent: every read sees every write that returned before it began,
// from any task. DueLeases is the one exception: it is a hint.
//
// Errors: a *campaign.Error with one of the codes that the method names.
// Besides those, every method may return
//   - CodeUnavailable: throttled, out of reach, or timed out, after the
//     implementation's own retries. A write may or may not have been applied;
//     calling the same method again with the same arguments is always safe and
//     tells which: a write that has been applied already is recognised as
//     one's own and returns nil.
//   - the context's error, when it ended first; the same holds for writes.
//
// Implementations are safe for concurrent use. Times are UTC and keep
// milliseconds at least. Zero times, nil slices and empty ones come back as
// zero and with length 0.
package store

import (
	"context"
	"time"

	"postern/internal/campaign"
)

// Store is everything that Postern keeps.
type Store interface {
	Contacts
	Campaigns
	Work
	Cells

	// Ping says whether the store answers and its tables or buckets are
	// there, with an error for the person who can mend it.
	Ping(ctx context.Context) error
	// Close lets go of the store's resources. No method may run or follow.
	Close() error
}

// Contacts is the address book.
type Contacts interface {
	// UpsertContacts makes the changes, each of them atomic by itself. The
	// changes are valid and have distinct keys. A contact that is not there
	// is made: active unless the change says otherwise, CreatedAt = at.
	// UpdatedAt becomes at, Address as the change writes it. CodeInvalid when
	// a contact would grow beyond what the store can keep. On an error some changes may have been made;
	// calling again makes the rest.
	UpsertContacts(ctx context.Context, changes []campaign.ContactChange, at time.Time) error

	// UpdateContact makes one change to a contact that is there, and returns
	// the contact as it is then. CodeNotFound.
	UpdateContact(ctx context.Context, change campaign.ContactChange, at time.Time) (campaign.Contact, error)

	// DeleteContact takes a contact away. CodeNotFound, also for a call that
	// is repeated because its answer was lost.
	DeleteContact(ctx context.Context, key string) error

	// GetContacts gives the contacts that are there of up to any number of
	// distinct keys, in no particular order. A key without a contact is left
	// out.
	GetContacts(ctx context.Context, keys []string) ([]campaign.Contact, error)

	// ListContacts gives up to limit (at least 1) contacts behind the cursor,
	// "" for the first page, and the next page's cursor, "" when there is
	// none. Every contact that is there during the whole listing is listed
	// exactly once; the order is the store's own. A page may be shorter than
	// limit, even empty, and still have a next one. CodeInvalid with field
	// "cursor" where the cursor is not one of this listing's.
	ListContacts(ctx context.Context, cursor string, limit int) (contacts []campaign.Contact, next string, err error)
}

// NewCampaign is what Accept makes durable at once.
type NewCampaign struct {
	// Campaign is pending or scheduled; its ID is a UUIDv7, so that ids sort
	// by age.
	Campaign campaign.Campaign
	// Content holds, by digest, all that the campaign's ContentRefs name.
	Content map[string][]byte
	// IdempotencyKey may be "". RequestDigest tells whether the same key
	// came with the same request.
	IdempotencyKey string
	RequestDigest  string
}

// IdempotencyFor is how long an Idempotency-Key is remembered at least.
const IdempotencyFor = 7 * 24 * time.Hour

// Campaigns keeps campaigns and what they send.
type Campaigns interface {
	// CreateCampaign stores the campaign, its content, its free control lease
	// (Key.Number 0, due at CreatedAt, or at SendAt where the campaign is
	// scheduled) and its Idempotency-Key together: on an error there is no
	// campaign, and no content stays behind unless the process dies in the
	// middle. When the key is known with the same digest it returns the
	// campaign of that key, as first stored or as it is now, and created
	// false. CodeKeyReused when the key came with another digest; CodeConflict
	// while another call with the key is under way, or when the campaign's ID
	// is taken.
	CreateCampaign(ctx context.Context, n NewCampaign) (c campaign.Campaign, created bool, err error)

	// FindByKey gives the id of the campaign that an Idempotency-Key made, as
	// CreateCampaign with the key would, and stores nothing: the key is as
	// free afterwards as before. CodeNotFound when the key is unknown or
	// forgotten ("" is never known); CodeKeyReused when it came with another
	// digest; CodeConflict while a call with the key is under way, whatever
	// its digest. CodeNotFound is no promise that CreateCampaign will find the
	// key free.
	FindByKey(ctx context.Context, idempotencyKey, requestDigest string) (campaignID string, err error)

	// GetCampaign gives one campaign. CodeNotFound.
	GetCampaign(ctx context.Context, id string) (campaign.Campaign, error)

	// ListCampaigns gives up to limit campaigns, newest id first; cursor,
	// next and errors as in ListContacts.
	ListCampaigns(ctx context.Context, cursor string, limit int) (campaigns []campaign.Campaign, next string, err error)

	// Transition moves a campaign to a status. UpdatedAt becomes At, Reason is
	// stored; in_progress sets RunningSince, and StartedAt where it is zero;
	// a status that is Ended sets FinishedAt and erases SealedPassword and
	// Notice in the same write. Paused, failed and cancelled raise the Signal
	// in the same write. When the campaign is in To already it returns the
	// campaign unchanged and nil. CodeConflict when its status cannot become
	// To by campaign.Status.CanBecome; CodeNotFound. It returns the campaign
	// as it is then.
	//
	// Of paused, completed and failed campaigns the work is shelved, so
	// nothing but Restart may take them back: from these, Transition reaches
	// cancelled only, as far as CanBecome allows that, and all else is
	// CodeConflict. So a task that starts a campaign does not undo the pause
	// that came a moment before.
	Transition(ctx context.Context, id string, t Transition) (campaign.Campaign, error)

	// Restart takes a campaign whose status is From back to To, sets its relay
	// where one is given, clears Reason, Notice and FinishedAt, sets
	// UpdatedAt and, for in_progress, RunningSince to At, raises the Signal,
	// and makes its control lease free, open and due at DueAt, whoever holds
	// it, with Reopen so that the shelved chunks are taken up again: Next 1;
	// States and StatesFrom are those of the Restart and 1, or, where it has
	// no States and an earlier Reopen is under way, the earlier States with
	// StatesFrom = the larger of its StatesFrom and its Next. Fence stays,
	// Version rises by one. All of this together. CodeConflict when the status
	// is not From or From cannot become To; CodeNotFound. A repeated call is
	// recognised by its arguments (At among them), whatever became of the
	// campaign since, until another Restart of it. It returns the campaign as
	// it is then.
	Restart(ctx context.Context, id string, r Restart) (campaign.Campaign, error)

	// Signal is a number that rises with each write that may concern a task
	// which works on a campaign: it stops, or its relay has changed. Reading
	// it costs one small read, however many campaigns there are.
	Signal(ctx context.Context) (int64, error)

	// SetNotice stores the campaign's Notice, and at as UpdatedAt. A campaign
	// that has ended is left as it is, with nil. CodeNotFound.
	SetNotice(ctx context.Context, id, notice string, at time.Time) error

	// GetContent gives content of a campaign by its digest, as it was stored.
	// CodeNotFound.
	GetContent(ctx context.Context, campaignID, digest string) ([]byte, error)

	// Totals counts a campaign's recipients with a number of reads that does
	// not grow with the campaign. A campaign that is not there has zero
	// totals. Checkpoints that returned before the call are all counted.
	Totals(ctx context.Context, campaignID string) (campaign.Totals, error)
}

// Transition is a change of a campaign's status.
type Transition struct {
	To     campaign.Status
	Reason string
	At     time.Time
	// Since, unless zero, is the RunningSince of the period of running that
	// the transition is meant for; CodeConflict when the campaign's is another
	// one by now.
	Since time.Time
}

// Restart takes a campaign up again.
type Restart struct {
	From campaign.Status
	To   campaign.Status
	// Relay replaces the campaign's; nil leaves it as it is.
	Relay *campaign.Relay
	// States are the terminal states, failed or unknown, whose recipients are
	// to be mailed again; none for the recipients without a result alone.
	States []campaign.DeliveryState
	// DueAt is when the work may begin.
	DueAt time.Time
	At    time.Time
}

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
	// are in its Settled set.
	Progress campaign.Progress
}

// MaxCheckpoint is the largest number of deliveries in a checkpoint: a
// DynamoDB transaction has 100 items at most, two of which are the lease and
// the totals.
const MaxCheckpoint = 98

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
	// totals do not count it as done any more, and Counted becomes what is
	// settled then. Otherwise Counted stays, for the statistics have nobody
	// yet of those whom the interrupted pass has settled. A finished chunk
	// without open recipients is left alone.
	//
	// An open chunk, held or free, is left alone but for a free one's DueAt,
	// which becomes dueAt where it is later (Version + 1). All of this
	// together. It returns the control lease as it is then.
	ReopenChunk(ctx context.Context, control Lease, dueAt time.Time) (Lease, error)

	// GetAudience gives a chunk's packed audience. CodeNotFound.
	GetAudience(ctx context.Context, key LeaseKey) ([]byte, error)

	// Checkpoint stores the deliveries, the chunk's progress and the totals
	// (each terminal delivery counts once) together.
	Checkpoint(ctx context.Context, held Lease, cp Checkpoint) (Lease, error)

	// Absorb records messages that a relay has acknowledged under a lease that
	// was lost since: sent is accepted from any fence. Each of the deliveries
	// (state sent, distinct indexes, at most MaxCheckpoint) whose recipient is
	// not sent already gets its row, the recipient is settled and in neither
	// Deferred nor Intents, and the totals move: one more sent, and one less of
	// the state that a settled recipient had. The lease keeps owner and fence;
	// its version rises when anything was written, so a holder whose write
	// fails with CodeConflict reads the lease again, and goes on with it as it
	// is then where owner and fence are still its own. It does not hide a write
	// that the holder had made before: that is recognised as ever when it is
	// repeated, and returns the lease as it is then. Closed leases too, and
	// they stay closed. A chunk all of whose recipients are settled by this is
	// left to its next holder to finish. A repeated call changes nothing.
	// CodeNotFound.
	Absorb(ctx context.Context, key LeaseKey, sent []campaign.Delivery) error

	// CountSent counts a message with each contact of sent.Keys (any number;
	// those that are gone are passed over): EmailCount + 1, LastEmailSent =
	// sent.At, LastCampaign = the campaign, unless it is that already, so that
	// duplicates count once. It needs no lease. On an error some are counted; a
	// repeated call counts those twice whom another campaign reached meanwhile.
	CountSent(ctx context.Context, campaignID string, sent Sent) error

	// FinishChunk closes a chunk all of whose recipients are settled, and
	// counts it as done in the totals. Progress stays.
	FinishChunk(ctx context.Context, held Lease) (Lease, error)

	// Deliveries gives all stored deliveries of a chunk, by index.
	Deliveries(ctx context.Context, key LeaseKey) ([]campaign.Delivery, error)
}

// Sent names the contacts whose statistics CountSent changes.
type Sent struct {
	Keys []string
	At   time.Time
}
