// Package budget shares what a relay allows (connections, messages a second,
// messages in a rolling day) among all tasks that send through it. There is no
// master: the tasks keep one store.Cell for each account of a relay, and each
// of them writes its own part into it.
//
// # The book
//
// The cell's value is the book: an entry for each task that wants something,
// with the connections and the rate that are its own, how many connections it
// wants, and a beat that rises at each of its writes; and the messages that
// were reserved in each ten minutes of the last day. A task that wants nothing
// and holds nothing has no entry and touches no store.
//
// A task reads the book, works out from all entries what every task should
// have (split.go), and writes its own entry:
//   - less, when it holds more than it should. What it uses is lowered first:
//     no connection is handed out above the new number, those in use above it
//     are revoked, and the entry says the larger of the target and what is
//     still in use. The rate sinks before the write.
//   - more, as far as the entries of the others leave something free. It is
//     used when the write is known to have succeeded.
//
// The swap fails when anybody wrote in between. So in every version of the book
// the sums are within the caps, and each task uses at most what its entry says.
// While the outcome of a swap is not known, a task uses no more than the least
// of what the entry may be; the next read tells, because each write has a beat
// of its own.
//
// # Death
//
// A claim runs out 9/10 of LeaseTime after the beginning of the last write that
// succeeded, on the task's own monotonic clock: Permit.Err fails then, and no
// message may be spent. Who sees a beat unchanged for LeaseTime, on its own
// monotonic clock, drops the entry. The tenth between is for commands that are
// under way, and for clocks that do not run at quite the same speed. A watcher
// that could not read for half of LeaseTime starts watching anew, so a store
// that was out of reach for everybody costs nobody its part. With
// Config.Exclusive the entries of other owners are dropped at once.
//
// A claim that has run out and whose entry is still there is good again after
// the next write, with the same permits. Where the entry is gone, all permits
// are revoked, and the task comes back as a newcomer. In one case more
// connections than the cap may be open: those of a task that was paused, or that
// saw no store, until it notices. They issue no commands but those of a message
// that was under way.
//
// # Shares
//
// Connections are split max-min fairly by what tasks want; what nobody wants is
// spread evenly over those that want any, so that a task may grow without
// asking. The rate follows the connections, in whole messages a second, because
// a task of 2.5 messages a second would send up to 3 in some seconds. Where
// there are more tasks than connections, or than messages a second, the first in turn
// have some and the others wait; each LeaseTime the one that has had its turn
// for longest goes to the end of the queue.
//
// A read follows every PollEvery while somebody waits or holds too much, and
// every tenth of LeaseTime otherwise; a write when the entry changes, or at the
// latest every fifth of LeaseTime and one read. So a newcomer has its part
// after the others' next read, their workers' current message, and its own next
// read.
//
// # Messages a second
//
// Each task has a token bucket of its rate, with a burst of 2 % of it, at least 1.
// So within any second there are at most the rate and, for each task with more
// than 100 messages a second, 2 % of its part more; while parts move, one message
// a task more. A message is counted when it is spent: workers who dawdle between
// that and the message add what they dawdled.
//
// # Messages a day
//
// Messages are reserved in blocks (a hundredth of the limit, 1 to 1000) by a
// write before they are used. A block belongs to the ten minutes of its
// reservation. It is usable in those and in the next ten, and counts until 24
// hours after that: so never more than the limit are sent in any 24 hours, and a
// message is free again after 24 hours to 24 hours and 20 minutes. What was not
// used is given back when its time is over, when the task wants nothing any
// more, and by Close; a crash loses the rest of at most two blocks.
//
// This is the one thing here that reads wall clocks. It is exact as far as they
// agree. A clock that is behind the last write's, by up to a day, is taken to be
// there, so that setting it back and forth frees nothing twice. A clock that runs
// ahead frees early by as much; reservations more than a day ahead of the
// reader's clock count as made now.
package budget
