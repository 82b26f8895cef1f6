package storetest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"postern/internal/campaign"
	"postern/internal/store"
)

func auditTests() []test {
	return []test{
		{"audit/the campaign's own chain", testOwnChain},
		{"audit/append an event", testAppendEvent},
		{"audit/append events, concurrent", testAppendRace},
		{"audit/a chunk's chain", testChunkChain},
		{"audit/refused writes", testRefusedLinks},
		{"audit/listing", testAuditLinks},
	}
}

// trail gives the links of a chain, which have to be whole: numbered from 1,
// each with the hash that follows from the one before, and with the end that is
// stored with the lease or the campaign.
func (k kit) trail(key store.LeaseKey) []campaign.Link {
	k.Helper()
	end := k.lease(key).Progress.Chain
	if key.Number == 0 {
		end = k.campaign(key.CampaignID).Log
	}
	links, err := k.s.AuditLinks(k.Context(), key, 0, 1000)
	k.ok(err, "AuditLinks")
	var c campaign.Chain
	for i, l := range links {
		c = c.Next(key.CampaignID, key.Number, l.Payload)
		if l.Number != int64(i)+1 || l.Hash != c.Head {
			k.Fatalf("link %d of chain %d is numbered %d and has hash %s, want %s", i+1, key.Number, l.Number, l.Hash, c.Head)
		}
	}
	if c != end {
		k.Fatalf("chain %d ends at link %d, %s; stored is %d, %s", key.Number, c.Links, c.Head, end.Links, end.Head)
	}
	return links
}

// CheckTrail ends the test unless the audit trail of a campaign is whole: each
// chain unbroken up to the end that is stored, and the records of each chunk
// what its rows and its settled recipients are.
func CheckTrail(t testing.TB, s store.Store, campaignID string) {
	t.Helper()
	k := newKit(t, s)
	k.trail(store.LeaseKey{CampaignID: campaignID})
	for n := range k.lease(store.LeaseKey{CampaignID: campaignID}).Freeze.Chunks {
		key := store.LeaseKey{CampaignID: campaignID, Number: n + 1}
		settled := map[int]campaign.Result{}
		for _, r := range k.records(key) {
			for _, result := range r.Results {
				settled[result.Index] = result
			}
			for _, index := range r.Reopened {
				delete(settled, index)
			}
		}
		k.same(len(settled), k.lease(key).Progress.Settled.Len(), fmt.Sprintf("the settled recipients of chunk %d by its records", key.Number))
		for _, d := range k.deliveries(key) {
			r, is := settled[d.Index]
			if want := campaign.ResultOf(d); is && (r.State != want.State || r.Attempts != want.Attempts || r.Reply != want.Reply || !r.At.Equal(want.At)) {
				k.Fatalf("chunk %d: the row says %+v, the record %+v", key.Number, want, r)
			}
		}
	}
}

func payloads(links []campaign.Link) [][]byte {
	out := make([][]byte, len(links))
	for i, l := range links {
		out[i] = l.Payload
	}
	return out
}

// events gives what a campaign's own chain tells.
func (k kit) events(id string) []campaign.Event {
	k.Helper()
	var all []campaign.Event
	for _, l := range k.trail(store.LeaseKey{CampaignID: id}) {
		e, err := campaign.DecodeEvent(l.Payload)
		k.ok(err, "DecodeEvent")
		all = append(all, e)
	}
	return all
}

// records gives what a chunk's chain tells.
func (k kit) records(key store.LeaseKey) []campaign.Record {
	k.Helper()
	var all []campaign.Record
	for _, l := range k.trail(key) {
		r, err := campaign.DecodeRecord(l.Payload)
		k.ok(err, "DecodeRecord")
		all = append(all, r)
	}
	return all
}

// testOwnChain: what is done to a campaign is told once, with who did it,
// however often the call is made.
func testOwnChain(k kit) {
	who := func(n int) campaign.Actor {
		return campaign.Actor{Name: fmt.Sprint("token:", n), SourceVPCE: "vpce-1", RequestID: fmt.Sprint("request ", n)}
	}
	n := k.submission()
	n.Actor = who(1)
	c := k.create(n)
	for range 2 {
		again, _, err := k.s.CreateCampaign(k.Context(), n)
		k.ok(err, "CreateCampaign again")
		if again.Log != c.Log {
			k.Fatalf("the repeated CreateCampaign gives a log of %d links, the first one %d", again.Log.Links, c.Log.Links)
		}
	}
	want := []campaign.Event{{
		At: k.at, Actor: who(1), Action: campaign.ActionCreated, To: campaign.StatusPending, Relay: "relay.example.org:587",
	}}
	pause := store.Transition{To: campaign.StatusPaused, Reason: "a reason", At: k.later(1), Actor: who(2)}
	resume := store.Restart{
		From: campaign.StatusPaused, To: campaign.StatusInProgress, DueAt: k.at, At: k.later(2), Actor: who(3),
		Relay: &campaign.Relay{Host: "other.example.org", Port: 25}, States: []campaign.DeliveryState{campaign.DeliveryFailed},
	}
	for range 2 {
		k.transition(c.ID, pause)
	}
	for range 2 {
		k.restart(c.ID, resume)
	}
	k.ok(k.s.SetNotice(k.Context(), c.ID, "trouble", k.later(3)), "SetNotice")
	want = append(want,
		campaign.Event{At: k.later(1), Actor: who(2), Action: campaign.ActionStatus, From: campaign.StatusPending, To: campaign.StatusPaused, Reason: "a reason"},
		campaign.Event{
			At: k.later(2), Actor: who(3), Action: campaign.ActionRestarted, From: campaign.StatusPaused, To: campaign.StatusInProgress,
			Relay: "other.example.org:25", States: []campaign.DeliveryState{campaign.DeliveryFailed},
		})
	k.same(k.events(c.ID), want, "events")
}

func testAppendEvent(k kit) {
	c := k.start()
	e := campaign.Event{At: k.later(1), Actor: campaign.Service, Action: campaign.ActionRoot, Root: &campaign.Root{Links: []int64{1, 2}, Signature: []byte{1}}}
	end, err := k.s.AppendEvent(k.Context(), c.ID, c.Log, e)
	k.ok(err, "AppendEvent")
	other := e
	other.At = k.later(2)
	_, err = k.s.AppendEvent(k.Context(), c.ID, c.Log, other)
	k.fails(err, campaign.CodeConflict, "AppendEvent behind an earlier end")
	last, err := k.s.AppendEvent(k.Context(), c.ID, end, other)
	k.ok(err, "AppendEvent behind the end")
	again, err := k.s.AppendEvent(k.Context(), c.ID, c.Log, e)
	k.ok(err, "the first AppendEvent again")
	if again != end || k.campaign(c.ID).Log != last {
		k.Fatalf("the first AppendEvent gave link %d, and again link %d; the log has %d", end.Links, again.Links, k.campaign(c.ID).Log.Links)
	}
	k.same(k.campaign(c.ID), c, "the rest of the campaign")
	k.same(k.events(c.ID)[1:], []campaign.Event{e, other}, "events")
	_, err = k.s.AppendEvent(k.Context(), k.fresh().ID, campaign.Chain{}, e)
	k.fails(err, campaign.CodeNotFound, "AppendEvent to no campaign")
}

// testAppendRace: of events behind the same end one is appended.
func testAppendRace(k kit) {
	c := k.start()
	var mu sync.Mutex
	var group sync.WaitGroup
	appended := 0
	for i := range 6 {
		group.Go(func() {
			_, err := k.s.AppendEvent(k.Context(), c.ID, c.Log, campaign.Event{At: k.later(i), Action: campaign.ActionErased})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				appended++
			case campaign.CodeOf(err) != campaign.CodeConflict:
				k.Errorf("AppendEvent: %v", err)
			}
		})
	}
	group.Wait()
	k.same([]int{appended, len(k.events(c.ID))}, []int{1, 2}, "how many were appended, and how many are there")
}

// persons gives deliveries the keyed digests that an engine gives them.
func persons(ds []campaign.Delivery) []campaign.Delivery {
	for i := range ds {
		ds[i].Person = campaign.Person{Key: campaign.KeyID{1, 2, 3, 4}, Digest: [16]byte{byte(ds[i].Index), 1}}
	}
	return ds
}

func resultsOf(ds ...campaign.Delivery) campaign.Record {
	var r campaign.Record
	for _, d := range ds {
		r.Results = append(r.Results, campaign.ResultOf(d))
	}
	return r
}

// testChunkChain takes a chunk through all that writes to its chain, each call
// twice.
func testChunkChain(k kit) {
	held := k.chunk(6)
	cp := k.checkpoint(6, 0, 3, campaign.DeliveryFailed)
	cp.Deliveries = persons(append(cp.Deliveries, k.delivery(5, campaign.DeliveryPending)))
	late := persons([]campaign.Delivery{k.delivery(4, campaign.DeliverySent), k.delivery(1, campaign.DeliverySent)})
	var after store.Lease
	var err error
	for range 2 {
		after, err = k.s.Checkpoint(k.Context(), held, cp)
		k.ok(err, "Checkpoint")
	}
	for range 2 {
		k.ok(k.s.Absorb(k.Context(), held.Key, late), "Absorb")
	}
	want := []campaign.Record{resultsOf(cp.Deliveries[:3]...), resultsOf(late...)}
	k.same(k.records(held.Key), want, "records")
	if stored := k.deliveries(held.Key)[0]; stored.Person != (campaign.Person{}) {
		k.Fatalf("a stored row has the person %v", stored.Person)
	}

	after, err = k.s.GetLease(k.Context(), after.Key)
	k.ok(err, "GetLease")
	k.pause(held.Key.CampaignID)
	_, err = k.s.CloseLease(k.Context(), after, campaign.StatusPaused)
	k.ok(err, "CloseLease")
	k.restart(held.Key.CampaignID, k.resumption(10, campaign.DeliveryFailed))
	control := k.hold(store.LeaseKey{CampaignID: held.Key.CampaignID})
	for range 2 {
		_, err = k.s.ReopenChunk(k.Context(), control, k.at)
		k.ok(err, "ReopenChunk")
	}
	want = append(want, campaign.Record{Reopened: []int{0, 2}})
	k.same(k.records(held.Key), want, "records behind a retry")
}

// testRefusedLinks: what is refused, or changes nothing, leaves no link.
func testRefusedLinks(k kit) {
	held := k.chunk(6)
	cp := k.checkpoint(6, 0, 2, campaign.DeliverySent)
	after, err := k.s.Checkpoint(k.Context(), held, cp)
	k.ok(err, "Checkpoint")
	_, err = k.s.Checkpoint(k.Context(), held, k.checkpoint(6, 0, 3, campaign.DeliverySent))
	k.fails(err, campaign.CodeConflict, "Checkpoint of an earlier version")
	waits := store.Checkpoint{Progress: after.Progress, Deliveries: []campaign.Delivery{k.delivery(4, campaign.DeliveryPending)}}
	after, err = k.s.Checkpoint(k.Context(), after, waits)
	k.ok(err, "Checkpoint without a terminal delivery")
	_, err = k.s.RenewLease(k.Context(), after)
	k.ok(err, "RenewLease")
	k.ok(k.s.Absorb(k.Context(), held.Key, cp.Deliveries), "Absorb of what is sent already")
	k.same(k.records(held.Key), []campaign.Record{resultsOf(cp.Deliveries...)}, "records")

	id := k.start().ID
	_, err = k.s.Transition(k.Context(), id, store.Transition{To: campaign.StatusCompleted, At: k.at})
	k.fails(err, campaign.CodeConflict, "Transition that is not legal")
	_, err = k.s.Restart(k.Context(), id, k.resumption(1))
	k.fails(err, campaign.CodeConflict, "Restart of a pending campaign")
	if n := len(k.events(id)); n != 1 {
		k.Fatalf("%d events of a campaign to which nothing was done", n)
	}
}

// testAuditLinks lists links that are more than a page of an answer, among the
// chains of other chunks.
func testAuditLinks(k kit) {
	id := k.chunked(2, 2).Key.CampaignID
	own, large := store.LeaseKey{CampaignID: id}, make([]int64, 100_000)
	for i := range 12 {
		e := campaign.Event{At: k.later(i), Action: campaign.ActionRoot, Root: &campaign.Root{Links: large, Signature: bytes.Repeat([]byte{1}, 64)}}
		_, err := k.s.AppendEvent(k.Context(), id, k.campaign(id).Log, e)
		k.ok(err, "AppendEvent")
	}
	held := k.hold(store.LeaseKey{CampaignID: id, Number: 1})
	_, err := k.s.Checkpoint(k.Context(), held, k.checkpoint(2, 0, 2, campaign.DeliverySent))
	k.ok(err, "Checkpoint")
	all := k.trail(own)
	if len(all) != 13 {
		k.Fatalf("%d links, want 13", len(all))
	}
	for _, c := range []struct {
		after int64
		limit int
		want  []campaign.Link
	}{
		{0, 1, all[:1]}, {0, 13, all}, {5, 4, all[5:9]}, {12, 100, all[12:]}, {13, 5, nil}, {99, 5, nil},
	} {
		got, err := k.s.AuditLinks(k.Context(), own, c.after, c.limit)
		k.ok(err, "AuditLinks")
		k.same(got, c.want, fmt.Sprintf("up to %d links behind %d", c.limit, c.after))
	}
	k.same(k.records(held.Key), []campaign.Record{resultsOf(k.delivery(0, campaign.DeliverySent), k.delivery(1, campaign.DeliverySent))}, "the chunk's records")
	for _, key := range []store.LeaseKey{{CampaignID: id, Number: 2}, {CampaignID: id, Number: 7}, {CampaignID: k.fresh().ID}} {
		got, err := k.s.AuditLinks(k.Context(), key, 0, 5)
		k.ok(err, "AuditLinks of no chain")
		k.same(got, []campaign.Link{}, "links of no chain")
	}
}
