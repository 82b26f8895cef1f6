package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// Slow clients. A large body on a slow link may take long, and so may a large
// answer; what may not be is that nothing moves on. So there is no time for the
// whole, but for each part.
const (
	// stallTimeout is how long each bodyStretch of a body may take to come, its
	// rest too, and each answerPiece of an answer to be taken: about 200 kbit/s
	// and 50 kbit/s. API Gateway takes bodies whole before it passes them on.
	stallTimeout = 10 * time.Second
	bodyStretch  = 256 << 10
	answerPiece  = 64 << 10
	// drainTimeout is for all that is left of a refused request's body.
	drainTimeout = time.Minute
	// workTimeout is for the handler behind its request's body. net/http takes a
	// read deadline that passes meanwhile for the end of the client, and cancels
	// the request's context.
	workTimeout = time.Minute
)

// pace is since when a transfer is at the stretch or piece under way.
type pace struct{ at atomic.Int64 } // Unix nanoseconds; 0 where nothing is waited for

func (p *pace) begin() { p.at.Store(time.Now().UnixNano()) }
func (p *pace) end()   { p.at.Store(0) }

func (p *pace) since() time.Time {
	if at := p.at.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// incoming is a request's body as it comes, whatever limit a handler reads it
// through.
type incoming struct {
	io.ReadCloser
	pace

	deadline func(time.Time) error // sets that of the connection's reads
	stall    time.Duration

	pressed atomic.Bool // cut off for others

	begun bool      // somebody asked for some of it
	left  int       // octets of the stretch that is coming
	last  time.Time // the end of all patience; zero for none
}

// Read reads within the time that each stretch has.
func (b *incoming) Read(p []byte) (int, error) {
	b.begun = true
	if b.left <= 0 {
		b.left = bodyStretch
		b.begin()
		b.setDeadline(b.stall)
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= n
	if err != nil {
		b.end()
	}
	if errors.Is(err, io.EOF) {
		b.setDeadline(workTimeout)
	}
	return n, err
}

func (b *incoming) setDeadline(d time.Duration) {
	at := time.Now().Add(d)
	if !b.last.IsZero() && at.After(b.last) {
		at = b.last
	}
	_ = b.deadline(at) // what has no connection to it has no slow client
}

// cut lets the Read under way, or the next one of this stretch, end as if its
// time were over.
func (b *incoming) cut() {
	b.pressed.Store(true)
	_ = b.deadline(time.Now())
}

// drainUntil bounds what is read of a body that is refused. Who was cut off for
// others may be about to send the rest.
func (b *incoming) drainUntil() {
	b.last = time.Now().Add(drainTimeout)
	if b.pressed.Load() {
		b.last = time.Now().Add(pressPatience)
		b.left = 0 // another stretch
	}
}

// outgoing is an answer as it goes: each piece has its time.
type outgoing struct {
	http.ResponseWriter
	pace

	control *http.ResponseController
	stall   time.Duration
}

// Write writes within the time that each piece has.
func (o *outgoing) Write(p []byte) (int, error) {
	written := 0
	for {
		piece := p[written:min(len(p), written+answerPiece)]
		_ = o.control.SetWriteDeadline(time.Now().Add(o.stall))
		o.begin()
		n, err := o.ResponseWriter.Write(piece)
		o.end()
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

func (o *outgoing) cut() { _ = o.control.SetWriteDeadline(time.Now()) }

// Unwrap is for http.ResponseController.
func (o *outgoing) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// paced gives the request's body and its answer their deadlines. The server's
// own WriteTimeout would end while a slow body still comes.
func (a *api) paced(w http.ResponseWriter, r *http.Request) (*outgoing, *incoming) {
	control := http.NewResponseController(w)
	return &outgoing{ResponseWriter: w, control: control, stall: a.opts.StallTimeout},
		&incoming{ReadCloser: r.Body, deadline: control.SetReadDeadline, stall: a.opts.StallTimeout}
}

// Lists are the only large answers. One is made in listOctets of memory and
// kept, as long as it is on its way, in as much as it has; all together in
// listsOctets. A list waits listPatience for its turn.
const (
	listOctets   = 8 << 20
	listsOctets  = 64 << 20
	listPatience = 10 * time.Second
)

// listLimit lets a request for a list through when there is memory for it.
func (a *api) listLimit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), listPatience)
		defer cancel()
		own, err := a.lists.wait(ctx, listOctets, exchangeOf(r.Context()).answer)
		if err != nil {
			a.fail(w, r, busy("too many lists at once; try again"))
			return
		}
		defer own.release()
		next.ServeHTTP(&listWriter{ResponseWriter: w, own: own}, r)
	})
}

// searchesAtOnce is how many searches for persons a task makes at a time: each
// reads through campaigns for many seconds. Lists do not wait for them.
const searchesAtOnce = 2

// searchLimit lets a search for a person through when there is a place for it.
func (a *api) searchLimit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		own, ok := a.searches.try(1, exchangeOf(r.Context()).answer)
		if !ok {
			a.fail(w, r, busy("too many searches for persons at once; try again"))
			return
		}
		defer own.release()
		next.ServeHTTP(w, r)
	})
}

// listWriter gives memory back that the list, once it is made, does not need.
type listWriter struct {
	http.ResponseWriter

	own *part
}

// WriteHeader knows by Content-Length how much the answer has.
func (l *listWriter) WriteHeader(status int) {
	if length, err := strconv.ParseInt(l.Header().Get("Content-Length"), 10, 64); err == nil {
		l.own.shrink(length)
	}
	l.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (l *listWriter) Unwrap() http.ResponseWriter { return l.ResponseWriter }
