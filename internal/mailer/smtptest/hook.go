package smtptest

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Stage is the point of a session at which a Hook is asked.
type Stage string

// The stages. StageContent lies between the 354 and the reading of the message,
// and a reply there ends the connection. At StageDot the whole message has been
// read and is not yet taken; at StageAccepted it stands in the Ledger and the
// reply has not been written (closing here loses the reply); at StageDone it has
// been written, and a reply is one more that nobody asked for, such as the 421
// of a relay that closes idle connections. At StageClosed the connection has
// ended, whoever ended it, and what the Hook answers has no effect.
const (
	StageGreeting Stage = "greeting"
	StageHello    Stage = "hello" // EHLO and HELO
	StageStartTLS Stage = "starttls"
	StageAuth     Stage = "auth" // the AUTH command, before any challenge
	StageMail     Stage = "mail"
	StageRcpt     Stage = "rcpt"
	StageData     Stage = "data"
	StageContent  Stage = "content"
	StageDot      Stage = "dot"
	StageAccepted Stage = "accepted"
	StageDone     Stage = "done"
	StageReset    Stage = "reset"
	StageQuit     Stage = "quit"
	StageClosed   Stage = "closed"
)

// Event is what a Hook is told.
type Event struct {
	Stage Stage
	// Command is the client's line without its CRLF; "" where there is none.
	Command string
	// Conn numbers the connections of a Ledger from 1; Remote is the address
	// of the client's end, as host:port.
	Conn   int
	Remote string
	// Messages is how many messages this connection has had accepted.
	Messages int
	TLS      bool
	User     string // as authenticated; "" for none
	// From and To are the transaction so far; at StageRcpt the last of To is
	// the recipient that is being asked about.
	From string
	To   []string
}

// Rcpt is the recipient that the command at StageRcpt names.
func (e Event) Rcpt() string {
	if len(e.To) == 0 {
		return ""
	}
	return e.To[len(e.To)-1]
}

// Hook is asked at every stage, from several connections at once. The zero
// Action leaves the relay to itself.
type Hook func(Event) Action

type deed int

const (
	behave deed = iota
	reply
	hangUp
	hang
	endless
)

// Action is what a Hook wants done in place of the relay's usual behaviour.
// The zero value changes nothing.
type Action struct {
	do        deed
	text      string
	raw       bool // text has its own line end, or none
	inject    string
	thenClose bool
	wait      <-chan struct{}
	delay     time.Duration
}

func (a Action) isZero() bool { return a == Action{} }

// Reply answers with the lines given, which carry their codes; the last
// line's code decides what the relay then believes.
func Reply(lines ...string) Action {
	return Action{do: reply, text: strings.Join(lines, "\r\n")}
}

// Raw answers with these octets as they are, and counts as a refusal unless
// they start with a positive code.
func Raw(octets string) Action { return Action{do: reply, text: octets, raw: true} }

// Close closes the connection without an answer.
func Close() Action { return Action{do: hangUp} }

// Hang never answers: what the client still sends is read and dropped, until
// it or the Server closes the connection.
func Hang() Action { return Action{do: hang} }

// EndlessLine answers with a line that does not end.
func EndlessLine() Action { return Action{do: endless, text: strings.Repeat("250 endless ", 512)} }

// EndlessReply answers with a multi-line reply that does not end.
func EndlessReply() Action {
	return Action{do: endless, text: strings.Repeat("250-and so on\r\n", 512)}
}

// Inject answers as usual, or as the Action said, with octets right behind
// the answer in the same segment: at StageStartTLS, plain text that a careless
// client takes for the answer to its first command under TLS.
func (a Action) Inject(octets string) Action {
	a.inject = octets
	return a
}

// ThenClose closes the connection behind the answer.
func (a Action) ThenClose() Action {
	a.thenClose = true
	return a
}

// After waits for the channel (or for the Server's Close) before anything
// else is done.
func (a Action) After(c <-chan struct{}) Action {
	a.wait = c
	return a
}

// Delay waits for d before anything else is done.
func (a Action) Delay(d time.Duration) Action {
	a.delay = d
	return a
}

// At makes a Hook that acts at every event of one stage.
func At(stage Stage, a Action) Hook {
	return func(e Event) Action {
		if e.Stage != stage {
			return Action{}
		}
		return a
	}
}

// Chain asks the hooks in turn; the first Action that is not zero holds.
func Chain(hooks ...Hook) Hook {
	return func(e Event) Action {
		for _, h := range hooks {
			if a := h(e); !a.isZero() {
				return a
			}
		}
		return Action{}
	}
}

// Times lets a hook act n times, then leaves the relay to itself.
func Times(n int, h Hook) Hook {
	var left atomic.Int64
	left.Store(int64(n))
	return func(e Event) Action {
		a := h(e)
		if a.isZero() || left.Add(-1) < 0 {
			return Action{}
		}
		return a
	}
}

// OnConn lets a hook act on one connection only.
func OnConn(conn int, h Hook) Hook {
	return func(e Event) Action {
		if e.Conn != conn {
			return Action{}
		}
		return h(e)
	}
}

// RefuseRecipient answers RCPT for one address, compared without regard to
// case, with 550.
func RefuseRecipient(address string) Hook {
	return func(e Event) Action {
		if e.Stage != StageRcpt || !strings.EqualFold(e.Rcpt(), address) {
			return Action{}
		}
		return Reply("550 5.1.1 no such user")
	}
}

// Greylist answers the first n RCPT for each address with 451.
func Greylist(n int) Hook {
	var mu sync.Mutex
	seen := make(map[string]int)
	return func(e Event) Action {
		if e.Stage != StageRcpt {
			return Action{}
		}
		mu.Lock()
		defer mu.Unlock()
		seen[e.Rcpt()]++
		if seen[e.Rcpt()] > n {
			return Action{}
		}
		return Reply("451 4.7.1 greylisted, try again later")
	}
}
