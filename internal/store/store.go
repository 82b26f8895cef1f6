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
	"crypto/subtle"
	"time"

	"postern/internal/campaign"
)

// Store is everything that Postern keeps.
type Store interface {
	Contacts
	Campaigns
	Work
	Audit
	Persons
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

	// StatusesAfter gives the statuses, by key, of up to limit (at least 1)
	// contacts that follow the place of a key in the order of ListContacts,
	// whether there is a contact of that key or not. It may give fewer than
	// there are; what it gives takes less to read than GetContacts of as many.
	StatusesAfter(ctx context.Context, key string, limit int) (map[string]campaign.ContactStatus, error)
}

// NewCampaign is what Accept makes durable at once.
type NewCampaign struct {
	// Campaign is pending or scheduled; its ID is a UUIDv7, so that ids sort
	// by age.
	Campaign campaign.Campaign
	// Content holds, by digest, all that the campaign's ContentRefs name.
	Content map[string][]byte
	// IdempotencyKey may be "". RequestDigest tells whether the same key
	// came with the same request; EarlierDigests are what it was for the same
	// request before, as other sealing keys made it.
	IdempotencyKey string
	RequestDigest  string
	EarlierDigests []string
	// Nonce is random and this call's alone. It is not stored: what is stored to
	// recognise the call by is made with it, so that nobody can try by that what
	// the arguments were.
	Nonce string
	// Actor asks for it.
	Actor campaign.Actor
}

// Digests are all that the request may be known by.
func (n NewCampaign) Digests() []string {
	return append([]string{n.RequestDigest}, n.EarlierDigests...)
}

// SameRequest says whether a stored digest is one of those, in a time that
// tells nothing about it.
func SameRequest(stored string, digests []string) bool {
	same := 0
	for _, digest := range digests {
		same |= subtle.ConstantTimeCompare([]byte(stored), []byte(digest))
	}
	return same == 1
}

// IdempotencyFor is how long an Idempotency-Key is remembered at least.
const IdempotencyFor = 7 * 24 * time.Hour

// Campaigns keeps campaigns and what they send.
type Campaigns interface {
	// CreateCampaign stores the campaign, its content, its free control lease
	// (Key.Number 0, due at CreatedAt, or at SendAt where the campaign is
	// scheduled) and its Idempotency-Key together: on an error there is no
	// campaign, and no content stays behind unless the process dies in the
	// middle. When the key is known with one of the Digests it returns the
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
	FindByKey(ctx context.Context, idempotencyKey string, digests ...string) (campaignID string, err error)

	// GetCampaign gives one campaign. CodeNotFound. CodeDamaged, as of all
	// methods that need the campaign's record, where that cannot be read
	// (ErrDamaged).
	GetCampaign(ctx context.Context, id string) (campaign.Campaign, error)

	// ListCampaigns gives up to limit campaigns, those that are damaged among
	// them, which are no error of the call; cursor, next and errors as in
	// ListContacts.
	ListCampaigns(ctx context.Context, cursor string, limit int) (CampaignPage, error)

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
	// that came a moment before. The same write makes the control lease of such
	// a campaign free, open and due at At, whoever holds it (Version + 1): its
	// next holder closes the books over the new status.
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
	// CodeDamaged where the totals cannot be read.
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
	// Actor asks for it.
	Actor campaign.Actor
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
	// Actor asks for it.
	Actor campaign.Actor
}
