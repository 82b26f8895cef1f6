// Package lane is the way to one relay: as many workers as there may be
// connections, each with a session of its own, that take jobs from the
// campaigns at work in turn and bring them to the relay one after another.
//
// # Order
//
// A worker goes to work when some source is ready and its number is below the
// lane's adaptive limit. It asks the relay's budget for a connection, passes
// the gate, opens its session, takes a message off the budget, and only then a
// job: nothing waits in the hands of a worker that waits itself. Where it may,
// it takes the job that follows before it writes the one at hand, so that the
// next envelope can go right behind the final dot. While the reply to that dot
// is awaited, it makes the message's digest; and where its session is the
// lane's only one, it takes a third job and renders it, since nobody else sends
// meanwhile. That one is asked for again before its envelope goes: if the lane
// has ended, the gate has closed or the permit is wanted back by then, it is
// put back. It keeps its session while there is work and for IdleTimeout after,
// and ends it too when it has carried its messages or when its permit is
// revoked; the permit is given back only when the connection is over.
//
// Nothing is handed from goroutine to goroutine for a message. Workers take
// jobs under short locks and, when they find none, park. Whoever makes work
// possible (a source that has jobs again, a gate that opens, a limit that
// grows) wakes one worker, and each that takes a job wakes one more.
//
// # Turns
//
// Groups, which are campaigns, are served in turn, one job each, however many
// sources they have. A campaign of twenty recipients beside one of a million
// gets every other job. Within a group one source is served for as long as it
// gives jobs, so that what is recorded of it is recorded many at a time.
//
// # Whose failure
//
// What concerns one recipient is that recipient's outcome and a sign that the
// relay works. A connection that breaks costs nothing but itself; when they
// break one after another the relay is in trouble. Trouble of the relay as a
// whole (mailer.ScopeRelay, and any failure to open a connection that is not
// the campaign's) closes the gate: nothing more is sent but one probe at a
// time, with delays that grow to a minute. A failure that concerns all
// recipients of a campaign (mailer.ScopeCampaign) stops its group at once; one
// met while connecting, such as refused credentials, those of all groups that
// wait. How long a campaign puts up with trouble is not the lane's to say: see
// Lane.Trouble.
//
// The outcome of a failure to connect is given to a job that waits, which was
// not begun. A job that was taken and did not reach the relay, because its
// session broke, its lease was lost, or its group was stopped, ends as
// ErrNotStarted.
//
// # Adaptive limit
//
// The limit begins at one connection. While all is well it grows by one for
// each acknowledged message, which doubles it in each round, up to the cap. A
// 421, 432 or 454 that is not about a recipient, and a time-out, halve it, once
// for all that was under way together; from then on it grows by one for every
// eight messages a connection. A relay that refuses one connection more while
// others stand is not in trouble: the limit alone is lowered.
package lane
