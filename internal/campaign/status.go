package campaign

import "slices"

// Status is where a campaign stands.
type Status string

// The statuses of a campaign.
const (
	// StatusPending: accepted and durable; no task has started on it yet.
	StatusPending Status = "pending"
	// StatusInProgress: its audience is being frozen, or its letters sent.
	StatusInProgress Status = "in_progress"
	// StatusCompleted: every recipient has a terminal state.
	StatusCompleted Status = "completed"
	// StatusFailed: it stopped before its end; Reason says why. Recipients
	// without a result stay pending and are not mailed.
	StatusFailed Status = "failed"
)

// transitions lists what each status may become. A status without an entry
// is terminal.
var transitions = map[Status][]Status{
	StatusPending:    {StatusInProgress, StatusFailed},
	StatusInProgress: {StatusCompleted, StatusFailed},
}

// CanBecome says whether the transition is legal.
func (s Status) CanBecome(next Status) bool { return slices.Contains(transitions[s], next) }

// Terminal says whether nothing follows the status.
func (s Status) Terminal() bool { return len(transitions[s]) == 0 }

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
