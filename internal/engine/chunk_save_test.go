package engine

import (
	"slices"
	"testing"

	"postern/internal/campaign"
	"postern/internal/store"
)

func row(index int, state campaign.DeliveryState) campaign.Delivery {
	return campaign.Delivery{Index: index, State: state}
}

func TestBatchLeavesWhatAnAbsorbHasSettled(t *testing.T) {
	t.Parallel()
	b := batch{
		size:     10,
		rows:     []campaign.Delivery{row(1, campaign.DeliveryFailed), row(2, campaign.DeliverySent)},
		deferred: []campaign.Deferred{{Index: 3}, {Index: 4}},
	}
	held := store.Lease{Progress: campaign.Progress{Settled: campaign.NewBitmap(10), Counted: campaign.Bitmap{1, 0}}}
	held.Progress.Settled.Add(1) // sent by an earlier holder, absorbed meanwhile
	held.Progress.Settled.Add(4)
	cp := b.checkpoint(held)
	if len(cp.Deliveries) != 1 || cp.Deliveries[0].Index != 2 {
		t.Errorf("rows %v; want that of 2 alone: what is sent stays sent", cp.Deliveries)
	}
	if len(cp.Progress.Deferred) != 1 || cp.Progress.Deferred[0].Index != 3 {
		t.Errorf("deferred %v; want 3 alone", cp.Progress.Deferred)
	}
	if got := cp.Progress.Settled.Len(); got != 3 || !cp.Progress.Counted.Has(0) {
		t.Errorf("%d settled; want 1, 2 and 4; counted %v", got, cp.Progress.Counted)
	}
	if held.Progress.Settled.Has(2) {
		t.Error("the lease's own set was changed before the store has it")
	}
}

func TestIntents(t *testing.T) {
	t.Parallel()
	task := newWindow(intentWindow)
	set := newIntents(task)
	set.propose([]int{30, 20, 10})
	if !set.mayDeclare() {
		t.Fatal("nothing is declared, and nothing may be")
	}
	if fresh := set.declare(); !slices.Equal(fresh, []int{30, 20, 10}) || set.waiting() {
		t.Fatalf("declared %v", fresh)
	}
	set.drop(20)
	left, durable := set.split(40)
	if !slices.Equal(left, []int{20}) || durable.Len() != 2 || !durable.Has(30) || !durable.Has(10) {
		t.Errorf("left %v, durable %v", left, durable)
	}
	task.done(len(left))
	set.drop(10)
	set.keep(10) // its result is not in this batch
	if left, durable = set.split(40); len(left) != 0 || !durable.Has(10) {
		t.Errorf("an intent whose result is not recorded yet is gone: left %v", left)
	}
	set.close()
	if task.size() != 0 {
		t.Errorf("%v intents left in the task's window", task.size())
	}
}

func TestIntentsStayWithinTheTasksWindow(t *testing.T) {
	t.Parallel()
	task := newWindow(intentWindow)
	all := make([]int, 500)
	for i := range all {
		all[i] = i
	}
	var sets []*intents
	for range 2 * chunksPerCampaign {
		s := newIntents(task)
		s.propose(all)
		s.declare()
		sets = append(sets, s)
	}
	if task.size() != intentWindow || task.room() == nil {
		t.Errorf("%v intents; want %d at most", task.size(), intentWindow)
	}
	for _, s := range sets {
		s.close()
	}
	if task.size() != 0 {
		t.Errorf("%v intents left", task.size())
	}
}

func TestAnInheritedIntentStaysUntilItsResultIsRecorded(t *testing.T) {
	t.Parallel()
	task := newWindow(intentWindow)
	s := newIntents(task)
	s.inherit(5)
	if _, durable := s.split(8); !durable.Has(5) {
		t.Error("a crash now would send to a recipient who may have the message")
	}
	s.drop(5)
	if left, durable := s.split(8); len(left) != 1 || durable.Has(5) {
		t.Errorf("left %v, durable %v", left, durable)
	}
}
