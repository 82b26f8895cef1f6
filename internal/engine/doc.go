// Package engine decides when and whether to send. It accepts campaigns,
// freezes their audiences into chunks, leases chunks, feeds the recipients to
// a bounded number of relay connections, records what the relay said, and
// sees campaigns to their end. Any number of tasks run the same engine on the
// same store; none of them is special, and each may die at any instant.
//
// # A campaign's way
//
// Submit validates, compiles the letter, seals what is secret and stores the
// campaign (pending) with its control lease in one durable step; only then
// the caller has an answer. The holder of the control lease makes the
// campaign in_progress and freezes the audience: page by page of contacts, a
// chunk and the moved cursor in one fenced transaction, so a crash neither
// loses nor repeats a page. Chunks are worked on as soon as they are stored.
// When the audience is final and every chunk is done, the campaign is
// completed.
//
// # States of a recipient
//
//	pending ──> sent        the relay acknowledged the final dot with a 2yz
//	        ──> failed      refused for good, or temporary trouble for longer
//	                        than RETRY_FOR since its first attempt
//	        ──> suppressed  the contact is not active or is gone, as seen when
//	                        the chunk was leased
//	        ──> pending     temporary refusal: deferred with a later due time
//
// All but pending are terminal. An attempt counts when the relay's answer, or
// its silence behind the final dot, concerned the recipient. Trouble of a
// connection or of the relay costs the recipient nothing: it is put back.
//
// # Leases
//
// A unit of work (the control lease, a chunk) is worked on by the holder of
// its lease only. Every write under a lease names the fence and version that
// it was read with; each write moves the version, at least every third of the
// lease time. A task that sees a version unchanged for the lease time, on its
// own monotonic clock, takes the lease over with a higher fence. A holder
// counts its own deadline from the moment before its last successful write,
// and checks it before MAIL and again before the final dot, so what it has
// lost it does not send. On a store that one process has to itself, a lease of
// another owner belongs to a dead process and is taken over at once.
//
// # Crashes
//
// What was recorded is never repeated, what was not is sent again: a kill
// repeats at most the messages whose final dot was under way, plus those
// acknowledged and not yet recorded. The latter are at most Window a task:
// nothing new is sent while more wait to be recorded. Recording is one
// transaction of delivery rows, the chunk's progress and the totals, so the
// totals are exact at every moment.
//
// # Retries
//
// A deferred recipient waits RETRY_MIN doubled per attempt up to RETRY_MAX,
// with jitter; this is kept in the chunk's lease, which is released until the
// first of them is due. It has failed when its delays have the sum RETRY_FOR:
// delays are counted and no clock is asked, so a clock that jumps fails nobody.
//
// Trouble of a relay as a whole (it is out of reach, busy, or lets connections
// down one after another) closes the relay's gate instead: nobody sends, one
// probe at a time goes through with growing delay, and the campaigns' notices
// say what is wrong. One chunk stays to probe; the others give their places to
// campaigns of other relays and come back at the next probe. A relay that stays
// away for RETRY_FOR, or that refuses the credentials or the sender, fails the
// campaign with the reason; recipients without a result stay pending.
//
// A recipient at whom the relay lets the connection down is put back behind
// the others, and deferred after three times.
//
// # Stop
//
// Run's context ends: claiming stops, then feeding; what is in flight
// finishes and is recorded, leases are released. After the stop time-out the
// rest is cut off, as a crash would.
package engine
