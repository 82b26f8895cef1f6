package storetest

import (
	"fmt"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

func statisticsTests() []test {
	return []test{
		{"statistics/whom a message was sent", testCountSent},
		{"statistics/many", testCountMany},
		{"statistics/two campaigns", testTwoCampaigns},
		{"statistics/marked as counted", testMarkCounted},
		{"statistics/marked while others write", testMarkCountedStale},
		{"statistics/a late message into what is marked", testMarkCountedAbsorbed},
	}
}

// testCountSent counts while somebody holds the chunk, who notices nothing.
func testCountSent(k kit) {
	keys := k.people(3)
	held := k.chunk(4)
	id := held.Key.CampaignID
	totals, want, unsent := k.totals(id), k.contact(keys[0]), k.contact(keys[2])
	sent := append(sentTo(k.later(9), keys[0], "gone."+keys[0], keys[0]), sentTo(k.later(8), keys[1])...)
	k.count(id, sent)
	want.EmailCount, want.LastEmailSent, want.LastCampaign = 1, k.later(9), id
	got := k.contact(keys[0])
	want.UpdatedAt = got.UpdatedAt // whether statistics touch it is left open
	k.same(got, want, "a contact to whom a message was sent")
	if other := k.contact(keys[1]); other.EmailCount != 1 || !other.LastEmailSent.Equal(k.later(8)) {
		k.Fatalf("a contact to whom a message was sent at another time: %+v", other)
	}
	k.same(k.contact(keys[2]), unsent, "a contact to whom none was sent")
	missing, err := k.s.GetContacts(k.Context(), []string{"gone." + keys[0]})
	k.ok(err, "GetContacts")
	k.same(missing, []campaign.Contact{}, "a contact that is gone")
	k.same(k.lease(held.Key), held, "the chunk's lease")
	k.same(k.totals(id), totals, "totals")

	k.count(id, sent)
	k.same(k.contact(keys[0]), got, "a contact that was counted before the call was repeated")
	k.count(id, nil)

	k.upsert(campaign.ContactChange{Address: k.address(0), Set: map[string]string{"new": "field"}})
	if got = k.contact(keys[0]); got.EmailCount != 1 || got.LastCampaign != id || !got.LastEmailSent.Equal(k.later(9)) {
		k.Fatalf("an import changed the statistics: %+v", got)
	}
}

// sentTo are messages of one time.
func sentTo(at time.Time, keys ...string) (sent []store.Sent) {
	for _, key := range keys {
		sent = append(sent, store.Sent{Key: key, At: at})
	}
	return sent
}

func (k kit) count(campaignID string, sent []store.Sent) {
	k.Helper()
	k.ok(k.s.CountSent(k.Context(), campaignID, sent), "CountSent")
}

func testCountMany(k kit) {
	keys := k.people(store.MaxChunkRecipients + 1)
	k.count(k.prefix, sentTo(k.later(1), keys...))
	got, err := k.s.GetContacts(k.Context(), keys)
	k.ok(err, "GetContacts")
	for _, c := range got {
		if c.EmailCount != 1 || c.LastCampaign != k.prefix {
			k.Fatalf("statistics of %s are %d, %q", c.Address, c.EmailCount, c.LastCampaign)
		}
	}
	if len(got) != len(keys) {
		k.Fatalf("%d contacts of %d", len(got), len(keys))
	}
}

// testTwoCampaigns counts a contact once for each campaign, also when the
// chunks of a campaign that reach it are two.
func testTwoCampaigns(k kit) {
	keys := k.people(1)
	for n := range 3 {
		id := fmt.Sprint(k.prefix, " ", n)
		for range 2 {
			k.count(id, sentTo(k.later(n), keys...))
		}
		c := k.contact(keys[0])
		if c.EmailCount != int64(n+1) || c.LastCampaign != id || !c.LastEmailSent.Equal(k.later(n)) {
			k.Fatalf("after %d campaigns: %+v", n+1, c)
		}
	}
}

// testMarkCounted marks a finished chunk; whoever closed it may repeat that
// behind it.
func testMarkCounted(k kit) {
	held, err := k.s.Checkpoint(k.Context(), k.chunk(10), k.checkpoint(10, 0, 10, campaign.DeliverySent))
	k.ok(err, "Checkpoint")
	closed, err := k.s.FinishChunk(k.Context(), held)
	k.ok(err, "FinishChunk")
	want := next(closed)
	want.Progress = closed.Progress.Clone()
	want.Progress.Counted = closed.Progress.Clone().Settled
	for _, what := range []string{"MarkCounted", "the same MarkCounted again"} {
		marked, err := k.s.MarkCounted(k.Context(), closed)
		k.ok(err, what)
		k.same(marked, want, "the lease that "+what+" returned")
		k.same(k.lease(held.Key), want, "the lease behind "+what)
	}
	again, err := k.s.FinishChunk(k.Context(), held)
	k.ok(err, "the same FinishChunk again, behind MarkCounted")
	k.same(again, want, "the lease that the repeated FinishChunk returned")
	k.same(k.tallied(held.Key.CampaignID), campaign.Totals{Total: 10, Sent: 10, Chunks: 1, ChunksDone: 1, UpdatedAt: k.at}, "totals")
	k.same(next(want), k.mark(held.Key), "a lease that is marked once more")
}

// testMarkCountedStale: only a closed lease that is as seen is marked.
func testMarkCountedStale(k kit) {
	control := k.chunked(4)
	key := store.LeaseKey{CampaignID: control.Key.CampaignID, Number: 1}
	refused := func(seen store.Lease, what string) {
		k.Helper()
		before := k.lease(seen.Key)
		_, err := k.s.MarkCounted(k.Context(), seen)
		k.fails(err, campaign.CodeConflict, "MarkCounted of "+what)
		k.same(k.lease(seen.Key), before, "the lease of "+what)
	}
	refused(k.lease(key), "a free chunk")
	held := k.hold(key)
	refused(held, "a held chunk")
	held, err := k.s.Checkpoint(k.Context(), held, k.checkpoint(4, 0, 2, campaign.DeliverySent))
	k.ok(err, "Checkpoint")
	k.pause(key.CampaignID)
	shelved, err := k.s.CloseLease(k.Context(), held, campaign.StatusPaused)
	k.ok(err, "CloseLease")
	k.absorb(key, 2)
	refused(shelved, "a shelved chunk into which a message was absorbed since")
	marked := k.mark(key)
	k.same(marked.Progress.Counted, setOf(4, 0, 1, 2), "those who are counted of a shelved chunk")
	refused(shelved, "a shelved chunk that was absorbed into and marked since")

	k.restart(key.CampaignID, k.resumption(40))
	k.reopen(k.hold(control.Key), 40, store.Reopen{})
	refused(marked, "a chunk that was taken up again")
	k.same(k.lease(key).Progress, marked.Progress, "progress of the chunk that was taken up again")
	_, err = k.s.MarkCounted(k.Context(), store.Lease{Key: store.LeaseKey{CampaignID: key.CampaignID, Number: 7}})
	k.fails(err, campaign.CodeNotFound, "MarkCounted of a chunk that is not there")
}

// testMarkCountedAbsorbed: a message that is acknowledged late to a recipient
// who had failed is one that the statistics do not have.
func testMarkCountedAbsorbed(k kit) {
	key := store.LeaseKey{CampaignID: k.chunked(4).Key.CampaignID, Number: 1}
	k.finish(key, terminalStates()...)
	marked := k.mark(key)
	if !marked.Progress.AllCounted() {
		k.Fatalf("the marked chunk has %+v", marked.Progress)
	}
	k.absorb(key, 1)
	want := next(marked)
	want.Progress = marked.Progress.Clone()
	want.Progress.Counted = setOf(4, 0, 2, 3)
	k.same(k.lease(key), want, "the lease behind Absorb")
	_, err := k.s.MarkCounted(k.Context(), marked)
	k.fails(err, campaign.CodeConflict, "MarkCounted of the chunk as it was before")
	if now := k.mark(key); !now.Progress.AllCounted() {
		k.Fatalf("the chunk has %+v when it is marked again", now.Progress)
	}
}
