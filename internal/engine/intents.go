package engine

import (
	"slices"

	"postern/internal/campaign"
)

// intentWindow is how many recipients of at-most-once campaigns a task may
// have under way or about to be: a crash leaves them unknown.
const intentWindow = 64

// intentsPerChunk leaves room in the window for a campaign's other chunks.
const intentsPerChunk = intentWindow / chunksPerCampaign

// intents are the recipients of one at-most-once chunk on their way to the
// relay. Each is proposed, then declared with a batch, and may be given out
// once the store has the batch. It leaves the set with the batch that records
// what became of it.
type intents struct {
	window   *window
	proposed []int // not declared yet, the next one last
	declared map[int]struct{}
	leaving  map[int]struct{} // declared ones that the next batch leaves out
}

func newIntents(w *window) *intents {
	return &intents{window: w, declared: map[int]struct{}{}, leaving: map[int]struct{}{}}
}

// propose adds recipients to be sent, the next one last.
func (t *intents) propose(indexes []int) { t.proposed = append(t.proposed, indexes...) }

// inherit takes over an intent of an earlier holder, which stays in the set
// until its recipient's result is recorded.
func (t *intents) inherit(index int) {
	t.window.add()
	t.declared[index] = struct{}{}
}

// waiting says whether recipients wait to be declared.
func (t *intents) waiting() bool { return len(t.proposed) > 0 }

// room is how many more the chunk may have declared with the next batch.
func (t *intents) room() int { return intentsPerChunk - len(t.declared) + len(t.leaving) }

// mayDeclare says whether another batch of intents is due: half of the chunk's
// part is used up, and the task has room for more.
func (t *intents) mayDeclare() bool {
	return len(t.proposed) > 0 && t.room() >= intentsPerChunk/2 && t.window.room() == nil
}

// declare takes the next recipients into the set, as far as there is room, and
// gives them in the order of proposed.
func (t *intents) declare() []int {
	// At most half of what is left, so that a relay that hangs leaves some to
	// the campaigns of others.
	n := t.window.take(min(t.room(), len(t.proposed), t.window.left()/2+1))
	cut := len(t.proposed) - n
	next := slices.Clone(t.proposed[cut:])
	t.proposed = t.proposed[:cut]
	for _, i := range next {
		t.declared[i] = struct{}{}
	}
	return next
}

// drop withdraws the intents of recipients whose message has not left, or whose
// result the next batch has.
func (t *intents) drop(indexes ...int) {
	for _, i := range indexes {
		if _, is := t.declared[i]; is {
			t.leaving[i] = struct{}{}
		}
	}
}

// keep takes a drop back.
func (t *intents) keep(index int) { delete(t.leaving, index) }

// split takes what leaves with a batch out of the set, and gives it with the
// set as the store will have it.
func (t *intents) split(size int) (left []int, set campaign.Bitmap) {
	set = campaign.NewBitmap(size)
	for i := range t.declared {
		if _, leaves := t.leaving[i]; leaves {
			left = append(left, i)
			delete(t.declared, i)
		} else {
			set.Add(i)
		}
	}
	clear(t.leaving)
	return left, set
}

// close gives the set's room back.
func (t *intents) close() { t.window.done(len(t.declared)) }
