package main

import (
	"time"

	"postern/internal/mailer/smtptest"
)

// What the harness and its relay, which is a process of its own, tell each
// other, as JSON over HTTP on loopback.

// deed is what an order has done to a task.
type deed string

const (
	deedKill deed = "kill" // SIGKILL
	deedTerm deed = "term" // SIGTERM
	deedStop deed = "stop" // SIGSTOP
	deedCont deed = "cont" // SIGCONT
	// deedTermKill is SIGTERM and, after the order's Wait, SIGKILL; the relay
	// keeps its reply back until then.
	deedTermKill deed = "term, then kill"
)

// order has the relay do something to the task whose connection comes to a
// stage next.
type order struct {
	Stage smtptest.Stage
	Fresh bool // only a task that has not mailed anybody yet
	Skip  int  // so many events of the stage pass first
	Deed  deed
	// Late lets the client see the relay's last reply and go on for Wait
	// before the deed, which is done before it otherwise.
	Late bool
	Wait time.Duration
}

// flight is a transaction that is open at the relay: MAIL has been read, and
// the reply to the final dot has not been written.
type flight struct {
	Conn     int
	Stage    smtptest.Stage // that it has come to
	From, To string         // To is "" before RCPT
}

// strike is a signal that the relay has sent, with what was open there at that
// moment.
type strike struct {
	PID  int
	At   time.Time
	Open []flight
}

// signalled asks for a deed at once.
type signalled struct {
	PID    int
	Deed   deed
	IfOpen bool // only if a transaction is open there
}

// weather is how the relay is for some time: of a stage's events, a share (0
// to 1) is answered so.
type weather struct {
	Stage smtptest.Stage
	Share float64
	Reply string // instead of the usual one
	Cut   bool   // closes the connection instead
	Delay time.Duration
}

// record is a message that the relay has taken.
type record struct {
	PID     int // of the task that sent it
	To      string
	ID      string    // its Message-ID
	Digest  string    // of its octets, in hexadecimal, as docs/audit.md has it for one without attachments
	At      time.Time // when the relay took it
	Replied bool      // the reply has been written
	Cut     bool      // the weather has cut the connection before the reply
}

// tally is what a campaign has come to at the relay.
type tally struct {
	Messages   int // taken
	Recipients int // with at least one message
	Cuts       int // connections that the weather has cut
}

// limits is how close the relay saw the tasks come to a relay's limits.
type limits struct {
	Open    int // most connections open at once
	Issuing int // most connections between their first and last command at once
	Second  int // most messages taken in any sliding second
	// Violations counts what careful clients never do (smtptest.Violations).
	Violations int
}
