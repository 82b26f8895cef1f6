package storetest

import (
	"fmt"
	"sync"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

func personTests() []test {
	return []test{
		{"persons/out of a chunk", testEraseRecipient},
		{"persons/who has no row", testErasePending},
		{"persons/while others write", testEraseRecipientStale},
		{"persons/out of a selection", testEraseAddresses},
		{"persons/one out of a selection", testEraseAddress},
		{"persons/several out of a selection at once", testEraseAddressRace},
		{"persons/out of a campaign that is over", testExpire},
		{"persons/not out of one that goes on", testExpireRefused},
		{"persons/not out of one that has ended since", testExpireLate},
	}
}

// erase takes a recipient out of a chunk, twice: the repeated call is
// recognised.
func (k kit) erase(seen store.Lease, e store.Erasure) store.Lease {
	k.Helper()
	var got store.Lease
	for _, what := range []string{"EraseRecipient", "the same EraseRecipient again"} {
		var err error
		got, err = k.s.EraseRecipient(k.Context(), seen, e)
		k.ok(err, what)
		k.same(k.lease(seen.Key), got, "the lease behind "+what)
	}
	packed, err := k.s.GetAudience(k.Context(), seen.Key)
	k.ok(err, "GetAudience")
	k.same(packed, e.Packed, "the audience behind EraseRecipient")
	return got
}

func testEraseRecipient(k kit) {
	control := k.completed(terminalStates())
	key := store.LeaseKey{CampaignID: control.Key.CampaignID, Number: 1}
	before, rows, totals, trail := k.lease(key), k.deliveries(key), k.totals(key.CampaignID), k.trail(key)
	want := next(before)
	k.same(k.erase(before, store.Erasure{Index: 1, Packed: []byte{9}}), want, "the lease that EraseRecipient returned")
	rows[1].Address, rows[1].Reply, rows[1].MessageID = "", "", ""
	k.same(k.deliveries(key), rows, "rows")
	k.same(k.totals(key.CampaignID), totals, "totals")
	k.same(k.trail(key), trail, "the audit trail")

	// The recipient can be opened again by a retry, whose record is the last.
	control = k.retry(control, campaign.DeliveryFailed)
	k.reopen(control, 30, store.Reopen{})
	if opened := k.lease(key); opened.Progress.Settled.Has(1) || opened.Closed {
		k.Fatalf("behind a retry the chunk's lease is %+v", opened)
	}
}

// testErasePending erases one who was put off when the campaign was stopped,
// and has no row.
func testErasePending(k kit) {
	held := k.chunk(3)
	cp := k.checkpoint(3, 0, 1, campaign.DeliverySent)
	cp.Progress.Deferred = []campaign.Deferred{{Index: 2, Attempts: 1, Next: k.later(60), Reply: "450 <c@example.org> later"}}
	held, err := k.s.Checkpoint(k.Context(), held, cp)
	k.ok(err, "Checkpoint")
	k.pause(held.Key.CampaignID)
	closed, err := k.s.CloseLease(k.Context(), held, campaign.StatusPaused)
	k.ok(err, "CloseLease")
	want := next(closed)
	want.Progress = closed.Progress.Clone()
	want.Progress.Deferred[0].Reply = ""
	k.same(k.erase(closed, store.Erasure{Index: 2, Packed: []byte{8}}), want, "the lease that EraseRecipient returned")
	k.same(len(k.deliveries(held.Key)), 1, "rows")
}

func testEraseRecipientStale(k kit) {
	control := k.chunked(4)
	key := store.LeaseKey{CampaignID: control.Key.CampaignID, Number: 1}
	refused := func(seen store.Lease, what string) {
		k.Helper()
		lease, rows := k.lease(key), k.deliveries(key)
		_, err := k.s.EraseRecipient(k.Context(), seen, store.Erasure{Index: 0, Packed: []byte{7}})
		k.fails(err, campaign.CodeConflict, "EraseRecipient of "+what)
		k.same(k.lease(key), lease, "the lease of "+what)
		k.same(k.deliveries(key), rows, "the rows of "+what)
		packed, err := k.s.GetAudience(k.Context(), key)
		k.ok(err, "GetAudience")
		k.same(packed, []byte{1, 0, 0}, "the audience of "+what)
	}
	refused(k.lease(key), "a free chunk")
	held, err := k.s.Checkpoint(k.Context(), k.hold(key), k.checkpoint(4, 0, 2, campaign.DeliverySent))
	k.ok(err, "Checkpoint")
	refused(held, "a held chunk")
	k.pause(key.CampaignID)
	closed, err := k.s.CloseLease(k.Context(), held, campaign.StatusPaused)
	k.ok(err, "CloseLease")
	k.absorb(key, 2)
	refused(closed, "a chunk into which a message was absorbed since")
	_, err = k.s.EraseRecipient(k.Context(), store.Lease{Key: store.LeaseKey{CampaignID: key.CampaignID, Number: 7}}, store.Erasure{})
	k.fails(err, campaign.CodeNotFound, "EraseRecipient of a chunk that is not there")
}

// selections gives campaigns with selections as small and as large as they may
// be: 900 long addresses are more than a DynamoDB item of a campaign is to hold.
func (k kit) selections() map[string]store.NewCampaign {
	small, large := k.submission(), k.submission()
	small.Campaign.Audience.Addresses = []string{"x@example.org", "Y@example.org"}
	for n := range 900 {
		large.Campaign.Audience.Addresses = append(large.Campaign.Audience.Addresses, fmt.Sprintf("%0240d@example.org", n))
	}
	return map[string]store.NewCampaign{"a small selection": small, "a large selection": large}
}

func testEraseAddresses(k kit) {
	final := func(id string) {
		_, err := k.s.FinishFreeze(k.Context(), k.hold(store.LeaseKey{CampaignID: id}))
		k.ok(err, "FinishFreeze")
	}
	expire := func(id string) {
		k.transition(id, store.Transition{To: campaign.StatusFailed, At: k.later(40)})
		k.fails(k.s.EraseAddresses(k.Context(), id), campaign.CodeConflict, "EraseAddresses of a failed campaign")
		k.ok(k.s.Expire(k.Context(), id, k.later(1000), k.later(1001)), "Expire")
	}
	cancel := func(id string) { k.transition(id, store.Transition{To: campaign.StatusCancelled, At: k.later(40)}) }
	for how, over := range map[string]func(id string){"final": final, "expired": expire, "cancelled": cancel} {
		for what, n := range k.selections() {
			c := k.create(n)
			k.fails(k.s.EraseAddresses(k.Context(), c.ID), campaign.CodeConflict, "EraseAddresses of "+what+" before it is "+how)
			k.same(k.campaign(c.ID), c, "the campaign of "+what)
			over(c.ID)
			want := k.campaign(c.ID)
			want.Audience.Addresses = nil
			for range 2 {
				k.ok(k.s.EraseAddresses(k.Context(), c.ID), "EraseAddresses of "+what+" that is "+how)
				k.same(k.campaign(c.ID), want, "the campaign of "+what)
			}
		}
	}
	k.fails(k.s.EraseAddresses(k.Context(), k.prefix), campaign.CodeNotFound, "EraseAddresses of no campaign")
}

// testEraseAddress takes addresses out of a selection by which an audience may
// be frozen yet, up to the last: who is left keeps his place, and the list its
// length, for an empty one would mean everybody.
func testEraseAddress(k kit) {
	for what, n := range k.selections() {
		c := k.create(n)
		addresses := c.Audience.Addresses
		k.ok(k.s.EraseAddress(k.Context(), c.ID, "z@example.org"), "EraseAddress of somebody else")
		k.same(k.campaign(c.ID), c, "the campaign of "+what)
		for _, i := range []int{1, 0} {
			for range 2 {
				k.ok(k.s.EraseAddress(k.Context(), c.ID, campaign.Key(addresses[i])), "EraseAddress in "+what)
			}
			got := k.campaign(c.ID)
			if left := got.Audience.Addresses; len(left) != len(addresses) || campaign.CheckAddress(left[i]) == nil {
				k.Fatalf("%s: %d addresses of %d, and %q is in the place of the erased", what, len(left), len(addresses), left[i])
			}
			got.Audience.Addresses[i] = c.Audience.Addresses[i]
			k.same(got, c, "the rest of the campaign of "+what)
			c.Audience.Addresses[i] = k.campaign(c.ID).Audience.Addresses[i]
		}
		if c.Audience.Addresses[0] == c.Audience.Addresses[1] {
			k.Fatalf("two erased addresses are both %q, and contacts are looked up by distinct keys", c.Audience.Addresses[0])
		}
	}
	k.fails(k.s.EraseAddress(k.Context(), k.prefix, "x@example.org"), campaign.CodeNotFound, "EraseAddress in no campaign")
}

func testEraseAddressRace(k kit) {
	for what, n := range k.selections() {
		addresses := n.Campaign.Audience.Addresses[:2]
		c := k.create(n)
		var group sync.WaitGroup
		for _, address := range addresses {
			group.Go(func() {
				if err := k.s.EraseAddress(k.Context(), c.ID, campaign.Key(address)); err != nil {
					k.Errorf("EraseAddress in %s: %v", what, err)
				}
			})
		}
		group.Wait()
		for i, left := range k.campaign(c.ID).Audience.Addresses[:2] {
			if campaign.CheckAddress(left) == nil {
				k.Fatalf("%s: address %d, %q, is still there", what, i, left)
			}
		}
	}
}

func testExpire(k kit) {
	control := k.completed(terminalStates(), terminalStates())
	id := control.Key.CampaignID
	key := store.LeaseKey{CampaignID: id, Number: 1}
	want, totals, lease, trail := k.campaign(id), k.totals(id), k.lease(key), k.trail(key)
	want.ExpiredAt = k.later(50)
	for n, at := range []time.Time{k.later(50), k.later(51)} {
		k.ok(k.s.Expire(k.Context(), id, k.later(1000), at), fmt.Sprint("Expire, call ", n+1))
		k.same(k.campaign(id), want, "the expired campaign")
	}
	_, err := k.s.Restart(k.Context(), id, store.Restart{
		From: campaign.StatusCompleted, To: campaign.StatusInProgress, DueAt: k.at, At: k.later(60),
	})
	k.fails(err, campaign.CodeConflict, "Restart of an expired campaign")

	for range 2 {
		k.ok(k.s.EraseChunk(k.Context(), key), "EraseChunk")
		_, err := k.s.GetAudience(k.Context(), key)
		k.fails(err, campaign.CodeNotFound, "GetAudience of an erased chunk")
		k.same(k.deliveries(key), []campaign.Delivery{}, "rows of an erased chunk")
	}
	erased := k.lease(key)
	if erased.Version < lease.Version {
		k.Fatalf("the version of an erased chunk's lease fell from %d to %d", lease.Version, erased.Version)
	}
	erased.Version = lease.Version
	k.same(erased, lease, "the lease of an erased chunk")
	k.same(k.trail(key), trail, "the audit trail of an erased chunk")
	k.same(k.totals(id), totals, "totals of an expired campaign")
	other := store.LeaseKey{CampaignID: id, Number: 2}
	if _, err := k.s.GetAudience(k.Context(), other); err != nil || len(k.deliveries(other)) != len(terminalStates()) {
		k.Fatalf("another chunk was erased: %v", err)
	}
}

func testExpireRefused(k kit) {
	c := k.start()
	k.fails(k.s.Expire(k.Context(), c.ID, k.later(1000), k.at), campaign.CodeConflict, "Expire of a pending campaign")
	k.pause(c.ID)
	k.fails(k.s.Expire(k.Context(), c.ID, k.later(1000), k.at), campaign.CodeConflict, "Expire of a paused campaign")
	if got := k.campaign(c.ID); !got.ExpiredAt.IsZero() {
		k.Fatalf("the campaign expired at %s", got.ExpiredAt)
	}
	k.fails(k.s.Expire(k.Context(), k.prefix, k.later(1000), k.at), campaign.CodeNotFound, "Expire of no campaign")
}

// testExpireLate: a campaign that was taken up again since it was looked at, and
// has ended again, is kept from its new end on.
func testExpireLate(k kit) {
	c := k.start()
	k.transition(c.ID, store.Transition{To: campaign.StatusCancelled, At: k.later(40)})
	want := k.campaign(c.ID)
	for _, before := range []time.Time{want.FinishedAt.Add(-time.Millisecond), want.FinishedAt} {
		k.fails(k.s.Expire(k.Context(), c.ID, before, k.later(2000)), campaign.CodeConflict, "Expire of a campaign that ended later")
		k.same(k.campaign(c.ID), want, "the campaign")
	}
	k.ok(k.s.Expire(k.Context(), c.ID, want.FinishedAt.Add(time.Millisecond), k.later(2000)), "Expire")
	k.ok(k.s.Expire(k.Context(), c.ID, want.FinishedAt.Add(-time.Hour), k.later(2000)), "Expire of an expired campaign")
}
