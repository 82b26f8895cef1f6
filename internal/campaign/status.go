package campaign

import "slices"

// Status is where a campaign stands.
type Status string

// The statuses of a campaign.
const (
	// StatusScheduled: accepted and durable; it starts at SendAt.
	StatusScheduled Status = "scheduled"
	// StatusPending: accepted and durable; no task has started on it yet.
	StatusPending Status = "pending"
	// StatusInProgress: its audience is being frozen, or its letters sent.
	StatusInProgress Status = "in_progress"
	// StatusPaused: stopped by a person, or because a person must do
	// something; Reason says what. It goes on when it is resumed.
	StatusPaused Status = "paused"
	// StatusCompleted: every recipient has a terminal state. A retry takes it
	// back to in_progress.
	StatusCompleted Status = "completed"
	// StatusFailed: it stopped before its end; Reason says why. Recipients
	// without a result stay pending and are not mailed unless it is resumed.
	StatusFailed Status = "failed"
	// StatusCancelled: stopped for good by a person. Recipients without a
	// result stay pending and are never mailed.
	StatusCancelled Status = "cancelled"
)

// Statuses are all statuses, for checks and messages.
var Statuses = []Status{
	StatusScheduled, StatusPending, StatusInProgress, StatusPaused, StatusCompleted, StatusFailed, StatusCancelled,
}

// transitions lists what each status may become.
var transitions = map[Status][]Status{
	StatusScheduled:  {StatusPending, StatusPaused, StatusCancelled},
	StatusPending:    {StatusInProgress, StatusPaused, StatusFailed, StatusCancelled},
	StatusInProgress: {StatusCompleted, StatusPaused, StatusFailed, StatusCancelled},
	StatusPaused:     {StatusScheduled, StatusPending, StatusInProgress, StatusCancelled},
	StatusCompleted:  {StatusInProgress},
	StatusFailed:     {StatusPending, StatusInProgress, StatusCancelled},
}

// CanBecome says whether the transition is legal.
func (s Status) CanBecome(next Status) bool { return slices.Contains(transitions[s], next) }

// Active says whether tasks may work on a campaign of the status now.
func (s Status) Active() bool { return s == StatusPending || s == StatusInProgress }

// Ended says whether nothing follows the status unless a person asks for it.
func (s Status) Ended() bool {
	return s == StatusCompleted || s == StatusFailed || s == StatusCancelled
}

// Shelved says whether the work of a campaign with the status is shelved, so
// that only taking it up again makes it go on.
func (s Status) Shelved() bool {
	return s == StatusPaused || s == StatusCompleted || s == StatusFailed
}

// DeliveryState is what became of one recipient of a campaign.
type DeliveryState string

// The states of a delivery. All but pending are terminal.
const (
	// DeliveryPending: no result yet; with attempts, it waits for a retry.
	DeliveryPending DeliveryState = "pending"
	// DeliverySent: the relay acknowledged the message with a 250.
	DeliverySent DeliveryState = "sent"
	// DeliveryFailed: the relay refused it for good, or time ran out.
	DeliveryFailed DeliveryState = "failed"
	// DeliveryUnknown: the relay may or may not have it, and it must not be
	// sent twice.
	DeliveryUnknown DeliveryState = "unknown"
	// DeliverySuppressed: the contact is not active, or is gone.
	DeliverySuppressed DeliveryState = "suppressed"
)

// DeliveryStates are all states, for checks and messages.
var DeliveryStates = []DeliveryState{DeliveryPending, DeliverySent, DeliveryFailed, DeliveryUnknown, DeliverySuppressed}

// Terminal says whether the state is final.
func (s DeliveryState) Terminal() bool { return s != DeliveryPending }
