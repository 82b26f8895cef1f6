// Package engine decides when and whether to send. It accepts campaigns,
// freezes their audiences into chunks, leases chunks, feeds the recipients to
// a bounded number of relay connections, records what the relay said, and
// sees campaigns to their end. Any number of tasks run the same engine on the
// same store; none of them is special, and each may die at any instant.
//
// # A campaign's way
//
// Submit validates, compiles the letter, seals what is secret and stores the
// campaign (pending, or scheduled) with its control lease in one durable step;
// only then the caller has an answer. The control lease is due when the
// campaign is; its holder brings the campaign into progress, takes up what an
// earlier stop has shelved, and freezes the audience: page by page of
// contacts, a chunk and the moved cursor in one fenced transaction, so a crash
// neither loses nor repeats a page. Chunks are worked on as soon as they are
// stored. When the audience is final and every chunk is done, the campaign is
// completed.
//
// # Statuses of a campaign
//
//	scheduled    accepted; it starts at SendAt
//	pending      accepted, or due; no task has started on it
//	in_progress  its audience is being frozen, or its letters sent
//	paused       stopped until a person resumes it; the reason says why
//	completed    every recipient has a terminal state
//	failed       stopped before its end; the reason says why
//	cancelled    stopped for good by a person
//
//	from         to           who, and when
//	scheduled    pending      the control lease's holder, at SendAt
//	             paused       the same, when it comes later than ScheduleGrace:
//	                          the service was away, or a backup was restored,
//	                          and a person must say whether it is still to go
//	pending      in_progress  the control lease's holder
//	in_progress  completed    whoever finds that it is
//	             paused       any task: the relay refuses the credentials, or
//	                          has been in trouble for RETRY_FOR, or the policy
//	                          has no room for it today
//	             failed       any task: the relay refuses what every message
//	                          has in common, or the policy forbids it, or the
//	                          time limit is over
//	all three    paused       Pause
//	             cancelled    Cancel; from paused and failed too
//	paused       scheduled, pending, in_progress
//	                          Resume: where it would stand by its SendAt and by
//	                          whether it ever started
//	failed       pending, in_progress
//	                          Resume
//	completed    in_progress  Retry
//
// Reasons and notices outlast an erasure, and so they have nothing that a relay
// wrote from MAIL on: stage and codes stand for it, in our own words. What it
// says before, on a connection on which it was told of nobody, stays, without
// words that have an @ (mailer.Error.Public). A recipient's own row has the
// relay's whole reply, and is erased with the person. The log has what the
// reasons have, and the refusal of a sender in the relay's words, by the log's
// own rules.
//
// A task works on pending and in_progress campaigns only. The time limit
// counts from when the campaign last came into progress. A decision of a task
// names the period of running it was made in, so one that comes late, after a
// pause and a resumption, changes nothing.
//
// # Policy
//
// A service can be told whom it may mail, as whom, and how many (Policy). What
// is named in a submission is refused with it: the sender, and recipients one by
// one. The rest is held when it is about to happen, so that a campaign which
// was accepted under another policy is held to the present one: the sender when
// the letter is loaded, which fails the campaign, and the recipients' domains
// when a chunk is leased, which suppresses those outside. Where numbers are
// limited, the control lease's holder counts the audience before it freezes any
// of it, and again whenever freezing is taken up; whoever has come since is held
// to the numbers with the chunk that would have them. All count who would be
// frozen, mailable at that moment or not: statuses can change until a chunk is
// sent, and so nobody is ever mailed who was not counted. The day's count is a
// cell of the store, by campaign: a crash between the count and the first chunk
// counts nobody twice. What a campaign has been given of a day it keeps, even if
// it is cancelled; one whose freezing is taken up on another day needs room for all
// its recipients on that day as well. One whose audience is final is counted anew
// on the day on which it is resumed or retried, before a chunk is opened: those
// without a result, and those whom the retry asks for. Where there is no room it
// is paused, and the retry is kept for when it is resumed.
//
// # Stopping and taking up again
//
// A campaign at work on a task is a run: its letter, compiled, and its lane,
// shared by the leases of it that the task holds. A run is over when the
// campaign is not to be worked on any more, or not in this way: it has another
// status, another relay, or was stopped and resumed since. Every write that
// may do this raises the store's Signal, which each task with a run reads
// every 250 ms; when it has risen, the runs read their campaigns. A run reads
// the Signal before it reads its campaign, so no change falls in between. MAIL
// is not written once the run is over, so one second after Pause or Cancel has
// returned no task begins a message, while the store is reachable; a message
// that has begun goes on to its end and counts.
//
// When a run is over its leases are given back: shelved, that is closed with
// open recipients, if the campaign's status is still the same in the write
// itself, and due at once if the campaign is active again. A stop that a task
// has decided is durable before that task gives the leases back, however long
// the store is out of reach.
//
// Resume and Retry are store.Restart: the new status, the new relay, and the
// control lease with a Reopen, together. The control lease's next holder walks
// the chunks and opens those that were shelved, or that hold recipients whom a
// retry asks for: their results are taken back from the totals, chunk by
// chunk, each in one transaction with the walk's place. A walk that is
// interrupted by a crash goes on at its place; one that is interrupted by a
// pause starts over when the campaign is resumed, and asks for the retry's
// recipients in the rest of the chunks only. A campaign is completed by whoever
// has read, in this order, its period of running, that no walk is under way,
// and totals that are complete; the period must still be the same.
//
// Resume sends to those without a result, Retry to those that are failed, or
// unknown, or both, as asked; neither to anybody else. A relay's own password
// is erased when a campaign ends, and must come again with the call.
//
// # States of a recipient
//
//	pending ──> sent        the relay acknowledged the final dot with a 2yz
//	        ──> failed      refused for good, or temporary trouble for longer
//	                        than RETRY_FOR since its first attempt
//	        ──> suppressed  the contact is not active or is gone, as seen when
//	                        the chunk was leased
//	        ──> unknown     at-most-once only: the relay may have the message,
//	                        and whether it has was not to be found out
//	        ──> pending     temporary refusal: deferred with a later due time
//	failed, unknown ──> sent     a late acknowledgement, absorbed
//	failed, unknown ──> pending  a retry that asks for them
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
// Sent absorbs. A holder that learns that its lease is lost, with messages
// acknowledged and not recorded, records them all the same (store.Absorb),
// whoever has the lease by now. That moves the version and leaves fence and
// owner alone: the present holder's next write is refused, it reads the lease
// again, finds it to be its own, strikes the absorbed recipients off its list
// and goes on. Only a recipient whom it has sent to already is sent to twice.
//
// # Letters in memory
//
// Letters with attachments are large, so those at work have a bound together
// (rooms). A chunk whose letter finds no room gives its lease back and comes
// again in its campaign's turn. A relay that takes no messages, or has not shown
// yet that it does, has one letter at a time; who has had its turn makes room.
//
// # The contacts' statistics
//
// They follow a campaign's end or stop, and do not precede it: a second write
// for each recipient, on DynamoDB as dear as half of what sending to it takes,
// is not on the way to completed. When the campaign is not active any more, the
// control lease's holder settles its accounts before it closes the lease: chunk
// by chunk it counts the messages to those whom the chunk's progress has as
// settled and not as counted, then marks these as counted. Who is opened again
// by a retry, or sent to by an Absorb, leaves the mark. The walk has no place
// of its own: one that is interrupted, by a Restart, which frees the control
// lease, or by a crash, starts over, and passes chunks that are marked with one
// read. A chunk that somebody still works on is waited for; one that waits for
// its time is shelved by the walk. Whoever absorbs a message behind the end
// settles that chunk itself. A contact is counted twice only if the walk dies
// between counting it and marking its chunk, and another campaign's counts the
// contact before the walk is made again.
//
// # The audit trail
//
// Every write that makes a recipient terminal, or takes that back, and every
// change of a campaign's status appends a link to a chain of hashes in its own
// transaction (store.Audit), so a crash never leaves one without the other. A
// recipient stands in it by a digest under a key that is derived from the
// sealing key, so that erasing the person leaves the proof. Behind the
// settling of the accounts the control lease's holder signs a root over the
// chains of all chunks, unless the last one is over the same; whoever absorbs
// a message behind that signs anew. A campaign that is cancelled when its
// accounts are settled already, as a paused one, has its control lease opened by
// that write, so that whoever takes the lease signs the last event too. A root is
// refused by the store when the campaign's own chain has moved since the campaign
// was read, as it does at a Restart, and not made when the totals have moved
// while the chunks were read.
//
// # Crashes
//
// What was recorded is never repeated. Recording is one transaction of
// delivery rows, the chunk's progress and the totals, so the totals are exact
// at every moment: sent never exceeds what relays have acknowledged.
//
// At least once: what was not recorded is sent again. A kill repeats at most
// the messages whose final dot was under way, plus those acknowledged and not
// yet recorded. With all others that are under way they are at most Window and
// one for each connection a task: a recipient is given out only while there
// is room. An envelope that is with the relay ahead of its message repeats
// nothing.
//
// At most once: before a recipient's envelope leaves, the intent to send to
// it is durable in the chunk's progress, written together with the results of
// those before. A holder that finds an intent of another fence without a result
// makes it unknown, and so does one whose connection is lost behind the final
// dot. A task has at most 64 intents, so a crash leaves at most so many
// unknown; a clean stop withdraws those that have not left.
//
// The model in model_test.go visits every state that three tasks can get two
// recipients into, with crashes, pauses, lost replies and lost answers at
// every step, for both promises; TestModelNotices takes the safeguards away.
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
// away for RETRY_FOR, counted from the campaign's last start at the earliest,
// or that refuses the credentials, pauses the campaign with the reason; one
// that refuses the sender, or has no TLS where it is asked for, fails it.
// Recipients without a result stay pending.
//
// A recipient at whom the relay lets the connection down is put back behind
// the others, and deferred after three times.
//
// # Stop
//
// Run's context ends: claiming stops, then feeding; what is in flight
// finishes and is recorded, leases are released so that other tasks go on at
// once, and sessions end. After the stop time-out the rest is cut off, as a
// crash would.
package engine
