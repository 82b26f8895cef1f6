package campaign

import (
	"encoding/json"
	"fmt"
	"time"
)

// Action says what an Event tells of.
type Action string

// The actions.
const (
	// ActionCreated: the campaign was accepted.
	ActionCreated Action = "created"
	// ActionStatus: it has another status.
	ActionStatus Action = "status"
	// ActionRestarted: it was resumed, or is retried.
	ActionRestarted Action = "restarted"
	// ActionRoot: its chunks' chains were joined and signed.
	ActionRoot Action = "root"
	// ActionErased: a person is erased from its deliveries.
	ActionErased Action = "erased"
	// ActionExpired: its deliveries are removed, as their time is over.
	ActionExpired Action = "expired"
)

// Event is an entry of a campaign's own chain: who did what, and when.
type Event struct {
	At     time.Time // in milliseconds
	Actor  Actor
	Action Action
	// From and To are statuses: To alone for ActionCreated, none where the
	// status did not change.
	From, To Status
	// Reason is free text without addresses of persons.
	Reason string
	// Relay is the host and port that the campaign has from now on; "" where
	// it is as before.
	Relay string
	// States are those that a retry takes back.
	States []DeliveryState
	// Person is who an ActionErased is about.
	Person Person
	// Root is that of an ActionRoot.
	Root *Root
	// Signed is the service's signature of the event, where it excuses that
	// something is not there any more (ActionErased, ActionExpired).
	Signed *Signature
}

// Signature is an Ed25519 signature by the key with the id.
type Signature struct {
	Key    KeyID
	Octets []byte
}

// Root joins the chains of all chunks.
type Root struct {
	// Links counts the links of each chunk's chain, chunk 1 first.
	Links []int64
	// Merkle is the root of the tree over the chains (audit.Tree).
	Merkle Hash
	// What became of the recipients by then.
	Total, Sent, Failed, Unknown, Suppressed int64
	// Key is the id of the key that signed, and Signature its Ed25519 signature
	// over audit.SignedOctets.
	Key       KeyID
	Signature []byte
}

// storedEvent is an Event's form in its link: a JSON object.
type storedEvent struct {
	At         string          `json:"at"` // RFC 3339, UTC, in milliseconds
	Actor      string          `json:"actor"`
	SourceVPCE string          `json:"source_vpce,omitempty"`
	RequestID  string          `json:"request_id,omitempty"`
	Action     Action          `json:"action"`
	From       Status          `json:"from,omitempty"`
	To         Status          `json:"to,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	Relay      string          `json:"relay,omitempty"`
	States     []DeliveryState `json:"states,omitempty"`
	Person     *storedPerson   `json:"person,omitempty"`
	Root       *storedRoot     `json:"root,omitempty"`
	Signed     *storedSigned   `json:"signed,omitempty"`
}

type storedSigned struct {
	Key       KeyID  `json:"key"`
	Signature []byte `json:"signature"` // base64
}

type storedPerson struct {
	Key    KeyID        `json:"key"`
	Digest PersonDigest `json:"digest"`
}

type storedRoot struct {
	Links      []int64 `json:"links"`
	Merkle     Hash    `json:"merkle"`
	Total      int64   `json:"total"`
	Sent       int64   `json:"sent"`
	Failed     int64   `json:"failed"`
	Unknown    int64   `json:"unknown"`
	Suppressed int64   `json:"suppressed"`
	Key        KeyID   `json:"key"`
	Signature  []byte  `json:"signature"` // base64
}

// eventTime is RFC 3339 in milliseconds, all three digits always there.
const eventTime = "2006-01-02T15:04:05.000Z"

// Encode gives the payload of the event's link: a JSON object. The chain is
// over these very octets, so whoever hands them on keeps them as they are.
func (e Event) Encode() ([]byte, error) {
	s := storedEvent{
		At: e.At.UTC().Format(eventTime), Actor: e.Actor.Name, SourceVPCE: e.Actor.SourceVPCE, RequestID: e.Actor.RequestID,
		Action: e.Action, From: e.From, To: e.To, Reason: WithoutAddresses(e.Reason), Relay: e.Relay, States: e.States,
	}
	if e.Person != (Person{}) {
		s.Person = &storedPerson{e.Person.Key, e.Person.Digest}
	}
	if e.Root != nil {
		r := storedRoot(*e.Root)
		s.Root = &r
	}
	if e.Signed != nil {
		s.Signed = &storedSigned{e.Signed.Key, e.Signed.Octets}
	}
	out, err := json.Marshal(s)
	if err != nil {
		return nil, Wrap(CodeInternal, err, "cannot encode an audit event")
	}
	return out, nil
}

// DecodeEvent reads what Encode made.
func DecodeEvent(payload []byte) (Event, error) {
	var s storedEvent
	if err := json.Unmarshal(payload, &s); err != nil {
		return Event{}, fmt.Errorf("campaign: damaged audit event: %w", err)
	}
	at, err := time.Parse(eventTime, s.At)
	if err != nil {
		return Event{}, fmt.Errorf("campaign: damaged audit event: %w", err)
	}
	e := Event{
		At: at, Actor: Actor{Name: s.Actor, SourceVPCE: s.SourceVPCE, RequestID: s.RequestID},
		Action: s.Action, From: s.From, To: s.To, Reason: s.Reason, Relay: s.Relay, States: s.States,
	}
	if s.Person != nil {
		e.Person = Person{s.Person.Key, s.Person.Digest}
	}
	if s.Root != nil {
		r := Root(*s.Root)
		e.Root = &r
	}
	if s.Signed != nil {
		e.Signed = &Signature{s.Signed.Key, s.Signed.Signature}
	}
	return e, nil
}
