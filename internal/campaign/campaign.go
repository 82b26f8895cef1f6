package campaign

import "time"

// Campaign is one letter to an audience, over one relay.
type Campaign struct {
	ID     string
	Name   string
	Status Status
	// Reason says why a paused or failed campaign stopped, for the person who
	// can act.
	Reason string
	// Notice is trouble that may pass, such as a relay that does not answer;
	// "" when there is none.
	Notice string

	Letter   Letter
	Relay    Relay
	Audience Selection

	// Promise is what holds where the relay's answer is lost.
	Promise Promise
	// SendAt is when a scheduled campaign starts; zero for at once.
	SendAt time.Time

	// SourceVPCE is the VPC endpoint through which the campaign came; "" when
	// unknown.
	SourceVPCE string

	CreatedAt  time.Time
	UpdatedAt  time.Time
	StartedAt  time.Time // zero before the first task starts on it
	FinishedAt time.Time // zero unless it has ended (Status.Ended)
	// ExpiredAt is when the campaign has forgotten who its recipients were; zero
	// while it knows them.
	ExpiredAt time.Time
	// RunningSince is when it last became in_progress; its time limit counts
	// from there. Zero before.
	RunningSince time.Time

	// Log is the end of the campaign's own audit trail: who did what, and when.
	Log Chain
}

// Promise is what a campaign promises where it cannot be known whether the
// relay has a message (RFC 1047): a reply lost behind the final dot, a crash.
type Promise string

// The promises.
const (
	// AtLeastOnce: the message is sent again; a small, stated number of
	// persons may have it twice.
	AtLeastOnce Promise = "at_least_once"
	// AtMostOnce: nobody has it twice; whoever may or may not have it ends
	// unknown.
	AtMostOnce Promise = "at_most_once"
)

// Promises are all promises, for checks and messages.
var Promises = []Promise{AtLeastOnce, AtMostOnce}

// Letter is what a campaign sends. The body and the attachments are content,
// kept apart from the campaign and named by digest.
type Letter struct {
	From Mailbox
	// SealedHead is the ciphertext of what else there is besides the content:
	// subject, Reply-To, the files' names and types.
	SealedHead []byte
	// HTML names the body's content, a template.
	HTML ContentRef
	// Attachments name the content of the files that go with every message.
	Attachments []ContentRef
}

// ContentRef names content of a campaign in the store.
type ContentRef struct {
	// Digest is a keyed one of the plain bytes, in lower-case hexadecimal: who
	// has not the key cannot tell by it what the content is.
	Digest string
	Size   int64 // octets of the plain bytes
}

// Relay is where a campaign hands in its messages. Host, Port and Username
// together identify a relay and its budget.
type Relay struct {
	Host string
	Port int
	// UseTLS: implicit TLS on port 465 and STARTTLS elsewhere. False means
	// plain text, on any port.
	UseTLS   bool
	Username string
	// SealedPassword is the password's ciphertext; nil when there is none,
	// when the relay is the default one, or once the campaign has ended.
	SealedPassword []byte
	// Default: the password is the service configuration's.
	Default bool
}

// Selection narrows the audience. The zero value means all contacts.
type Selection struct {
	// Tags: contacts that have any of them.
	Tags []string
	// Addresses: these contacts only.
	Addresses []string
}

// Totals counts a campaign's recipients. Pending is by subtraction, so the
// parts make Total at every moment.
type Totals struct {
	Total      int64 // recipients frozen so far; all of them once Final
	Sent       int64
	Failed     int64
	Unknown    int64
	Suppressed int64
	// Final: the audience is frozen, Total does not grow any more.
	Final bool
	// Chunks and ChunksDone count the audience's chunks. A campaign is
	// complete when it is Final and they are equal.
	Chunks     int64
	ChunksDone int64
	UpdatedAt  time.Time // of the last change; zero before the first
}

// Pending counts recipients without a terminal state.
func (t Totals) Pending() int64 { return t.Total - t.Sent - t.Failed - t.Unknown - t.Suppressed }

// Complete says whether every recipient has a terminal state and every chunk
// is closed.
func (t Totals) Complete() bool { return t.Final && t.Chunks == t.ChunksDone && t.Pending() == 0 }

// Count adds n deliveries of a state. Pending adds nothing.
func (t *Totals) Count(state DeliveryState, n int64) {
	switch state {
	case DeliverySent:
		t.Sent += n
	case DeliveryFailed:
		t.Failed += n
	case DeliveryUnknown:
		t.Unknown += n
	case DeliverySuppressed:
		t.Suppressed += n
	case DeliveryPending:
	}
}
