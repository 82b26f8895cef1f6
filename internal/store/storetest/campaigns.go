package storetest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"postern/internal/campaign"
	"postern/internal/store"
)

func campaignTests() []test {
	return []test{
		{"campaigns/create", testCreateCampaign},
		{"campaigns/create a taken id", testTakenID},
		{"campaigns/create again", testCreateAgain},
		{"campaigns/content", testContent},
		{"campaigns/not found", testCampaignNotFound},
		{"campaigns/idempotency", testIdempotency},
		{"campaigns/idempotency, concurrent", testIdempotencyRace},
		{"campaigns/find by no key", testFindNoKey},
		{"campaigns/list", testListCampaigns},
		{"campaigns/forged cursor", testForgedCampaignCursor},
		{"campaigns/notice", testNotice},
	}
}

func (k kit) campaign(id string) campaign.Campaign {
	k.Helper()
	c, err := k.s.GetCampaign(k.Context(), id)
	k.ok(err, "GetCampaign")
	return c
}

func testCreateCampaign(k kit) {
	c := k.start()
	k.same(k.campaign(c.ID), c, "the stored campaign")
	key := store.LeaseKey{CampaignID: c.ID}
	k.same(k.lease(key), store.Lease{Key: key, DueAt: c.CreatedAt, Version: k.lease(key).Version, Fence: k.lease(key).Fence}, "its control lease")
	k.same(k.totals(c.ID), campaign.Totals{}, "its totals")

	bare := k.fresh()
	bare.Name, bare.SourceVPCE, bare.Audience, bare.Relay = "", "", campaign.Selection{}, campaign.Relay{Default: true}
	bare.Letter.Attachments = nil
	bare.Promise = ""
	k.create(store.NewCampaign{Campaign: bare, Content: k.submission().Content})
	k.same(k.campaign(bare.ID), bare, "a campaign with little in it")

	scheduled := k.submission()
	scheduled.Campaign.Status, scheduled.Campaign.SendAt = campaign.StatusScheduled, k.later(3600)
	scheduled.Campaign.Promise = campaign.AtLeastOnce
	c = k.create(scheduled)
	k.same(k.campaign(c.ID), c, "a scheduled campaign")
	k.same(k.lease(store.LeaseKey{CampaignID: c.ID}).DueAt, c.SendAt, "the due time of its control lease")
}

func testTakenID(k kit) {
	first := k.submission()
	k.create(first)
	second := k.submission()
	second.Campaign.ID = first.Campaign.ID
	second.Campaign.Name = "another"
	_, _, err := k.s.CreateCampaign(k.Context(), second)
	k.fails(err, campaign.CodeConflict, "CreateCampaign with a taken id")
	// What recognises a call must not confirm a guess at its arguments.
	guess := first
	guess.Nonce = "guessed"
	_, _, err = k.s.CreateCampaign(k.Context(), guess)
	k.fails(err, campaign.CodeConflict, "CreateCampaign with all but the nonce of another")
	k.same(k.campaign(first.Campaign.ID), first.Campaign, "the campaign that had the id first")
}

// testCreateAgain repeats a call whose answer was lost.
func testCreateAgain(k kit) {
	n := k.submission()
	k.create(n)
	again, _, err := k.s.CreateCampaign(k.Context(), n)
	k.ok(err, "the same CreateCampaign again")
	k.same(again, n.Campaign, "the campaign of the repeated call")
	key := store.LeaseKey{CampaignID: n.Campaign.ID}
	held := k.hold(key)
	_, _, err = k.s.CreateCampaign(k.Context(), n)
	k.ok(err, "the same CreateCampaign again")
	k.same(k.lease(key), held, "the control lease after a repeated CreateCampaign")
}

func testContent(k kit) {
	n := k.submission()
	for _, size := range []int{0, 1, 300 << 10, 400 << 10, 1<<20 + 1, 5 << 20} {
		content := randomBytes(size)
		ref := campaign.ContentRef{Digest: digestOf(content), Size: int64(size)}
		n.Content[ref.Digest] = content
		n.Campaign.Letter.Attachments = append(n.Campaign.Letter.Attachments, ref)
	}
	k.create(n)
	for digest, want := range n.Content {
		got, err := k.s.GetContent(k.Context(), n.Campaign.ID, digest)
		k.ok(err, "GetContent")
		if !bytes.Equal(got, want) {
			k.Fatalf("content of %d octets came back with %d octets or others", len(want), len(got))
		}
	}
	_, err := k.s.GetContent(k.Context(), n.Campaign.ID, digestOf([]byte("nothing")))
	k.fails(err, campaign.CodeNotFound, "GetContent of nothing")
	_, err = k.s.GetContent(k.Context(), k.start().ID, digestOf(randomBytes(1)))
	k.fails(err, campaign.CodeNotFound, "GetContent of another campaign")
}

// randomBytes gives octets that no compression makes smaller.
func randomBytes(n int) []byte {
	out := make([]byte, n)
	source := rand.NewChaCha8([32]byte{1, byte(n), byte(n >> 8), byte(n >> 16)})
	_, _ = source.Read(out)
	return out
}

func testCampaignNotFound(k kit) {
	ctx := k.Context()
	for _, id := range []string{k.fresh().ID, "nonsense", "", "a/b", "\x00"} {
		_, err := k.s.GetCampaign(ctx, id)
		k.fails(err, campaign.CodeNotFound, "GetCampaign")
		_, err = k.s.Transition(ctx, id, store.Transition{To: campaign.StatusInProgress, At: k.at})
		k.fails(err, campaign.CodeNotFound, "Transition")
		_, err = k.s.Restart(ctx, id, store.Restart{From: campaign.StatusPaused, To: campaign.StatusInProgress, DueAt: k.at, At: k.at})
		k.fails(err, campaign.CodeNotFound, "Restart")
		k.fails(k.s.SetNotice(ctx, id, "n", k.at), campaign.CodeNotFound, "SetNotice")
		k.fails(k.s.Absorb(ctx, store.LeaseKey{CampaignID: id, Number: 1}, []campaign.Delivery{k.delivery(0, campaign.DeliverySent)}),
			campaign.CodeNotFound, "Absorb")
		_, err = k.s.GetContent(ctx, id, digestOf(nil))
		k.fails(err, campaign.CodeNotFound, "GetContent")
		_, err = k.s.GetLease(ctx, store.LeaseKey{CampaignID: id})
		k.fails(err, campaign.CodeNotFound, "GetLease")
		_, err = k.s.AcquireLease(ctx, store.Lease{Key: store.LeaseKey{CampaignID: id}}, owner())
		k.fails(err, campaign.CodeNotFound, "AcquireLease")
		_, err = k.s.GetAudience(ctx, store.LeaseKey{CampaignID: id, Number: 1})
		k.fails(err, campaign.CodeNotFound, "GetAudience")
		k.same(k.totals(id), campaign.Totals{}, "totals of no campaign")
	}
}

func testIdempotency(k kit) {
	n := k.submission()
	n.IdempotencyKey, n.RequestDigest = k.prefix+" key/ü", "digest 1"
	k.isUnknown(n.IdempotencyKey, n.RequestDigest)
	k.create(n) // the look-up has not taken the key
	k.isKnown(n)

	again := k.submission() // a repeated request gets an id of its own first
	again.IdempotencyKey, again.RequestDigest = n.IdempotencyKey, n.RequestDigest
	c, created, err := k.s.CreateCampaign(k.Context(), again)
	k.ok(err, "CreateCampaign with a known key")
	if created || c.ID != n.Campaign.ID {
		k.Fatalf("CreateCampaign with a known key: campaign %s, created %v; want %s, false", c.ID, created, n.Campaign.ID)
	}
	k.same(c, n.Campaign, "the campaign of the key")
	k.isAbsent(again.Campaign.ID)

	rotated := k.submission() // by another sealing key the same request has another digest
	rotated.IdempotencyKey, rotated.RequestDigest = n.IdempotencyKey, "digest 3"
	rotated.EarlierDigests = []string{"digest 4", n.RequestDigest}
	c, created, err = k.s.CreateCampaign(k.Context(), rotated)
	k.ok(err, "CreateCampaign with a known key and an earlier digest")
	if created || c.ID != n.Campaign.ID {
		k.Fatalf("CreateCampaign with an earlier digest: campaign %s, created %v; want %s, false", c.ID, created, n.Campaign.ID)
	}
	id, err := k.s.FindByKey(k.Context(), n.IdempotencyKey, rotated.Digests()...)
	k.ok(err, "FindByKey with an earlier digest")
	k.same(id, n.Campaign.ID, "the id of the key's campaign")

	other := k.submission()
	other.IdempotencyKey, other.RequestDigest = n.IdempotencyKey, "digest 2"
	_, _, err = k.s.CreateCampaign(k.Context(), other)
	k.fails(err, campaign.CodeKeyReused, "CreateCampaign with the key of another request")
	k.isAbsent(other.Campaign.ID)
	_, err = k.s.FindByKey(k.Context(), n.IdempotencyKey, other.RequestDigest)
	k.fails(err, campaign.CodeKeyReused, "FindByKey with the key of another request")

	other.IdempotencyKey += "x"
	k.isUnknown(other.IdempotencyKey, other.RequestDigest)
	k.create(other)
	k.same(k.campaign(n.Campaign.ID), n.Campaign, "the first campaign")
	k.isKnown(other)
	k.isKnown(n)
}

// testFindNoKey: a call without an Idempotency-Key is not found by "".
func testFindNoKey(k kit) {
	n := k.submission()
	n.RequestDigest = "digest"
	k.create(n)
	k.isUnknown("", n.RequestDigest)
	k.isUnknown("", "")
	k.isUnknown(n.Campaign.ID, n.RequestDigest)
}

// isKnown sees that FindByKey gives the campaign of its key.
func (k kit) isKnown(n store.NewCampaign) {
	k.Helper()
	id, err := k.s.FindByKey(k.Context(), n.IdempotencyKey, n.RequestDigest)
	k.ok(err, "FindByKey with a known key")
	k.same(id, n.Campaign.ID, "the id of the key's campaign")
}

func (k kit) isUnknown(key, digest string) {
	k.Helper()
	id, err := k.s.FindByKey(k.Context(), key, digest)
	k.fails(err, campaign.CodeNotFound, "FindByKey with an unknown key")
	k.same(id, "", "the id of no campaign")
}

// isAbsent sees that a refused campaign left nothing.
func (k kit) isAbsent(id string) {
	k.Helper()
	_, err := k.s.GetCampaign(k.Context(), id)
	k.fails(err, campaign.CodeNotFound, "GetCampaign of one that was not made")
	_, err = k.s.GetLease(k.Context(), store.LeaseKey{CampaignID: id})
	k.fails(err, campaign.CodeNotFound, "GetLease of one that was not made")
	_, err = k.s.GetContent(k.Context(), id, digestOf([]byte("body")))
	k.fails(err, campaign.CodeNotFound, "GetContent of one that was not made")
}

func testIdempotencyRace(k kit) {
	const callers = 8
	calls := make([]store.NewCampaign, callers)
	for i := range calls {
		calls[i] = k.submission()
		calls[i].IdempotencyKey, calls[i].RequestDigest = k.prefix, "same"
	}
	var mu sync.Mutex
	made, answered := 0, map[string]bool{}
	var group sync.WaitGroup
	for _, n := range calls {
		group.Go(func() {
			c, created, err := k.s.CreateCampaign(k.Context(), n)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				answered[c.ID] = true
			case campaign.CodeOf(err) != campaign.CodeConflict: // another call is under way
				k.Errorf("CreateCampaign: %v", err)
			}
			if created {
				made++
			}
		})
	}
	group.Wait()
	if made != 1 || len(answered) != 1 {
		k.Fatalf("%d calls made a campaign, %d campaigns were answered; want 1 and 1", made, len(answered))
	}
	for _, n := range calls {
		if answered[n.Campaign.ID] {
			k.isKnown(n)
		} else {
			k.isAbsent(n.Campaign.ID)
		}
	}
}

func testNotice(k kit) {
	c := k.start()
	for i, notice := range []string{"relay ⚡ does not answer", "other", ""} {
		set := func(ctx context.Context) error { return k.s.SetNotice(ctx, c.ID, notice, k.later(i)) }
		k.ok(set(k.Context()), "SetNotice")
		k.ok(set(k.Context()), "SetNotice again")
		want := c
		want.Notice, want.UpdatedAt = notice, k.later(i)
		k.same(k.campaign(c.ID), want, "the campaign with a notice")
	}
	for _, status := range campaign.Statuses {
		c := k.reach(status)
		k.ok(k.s.SetNotice(k.Context(), c.ID, "late", k.later(9)), fmt.Sprintf("SetNotice on a %s campaign", status))
		if !status.Ended() {
			c.Notice, c.UpdatedAt = "late", k.later(9)
		}
		k.same(k.campaign(c.ID), c, fmt.Sprintf("a %s campaign after SetNotice", status))
	}
}
