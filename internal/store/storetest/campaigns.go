package storetest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
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
		{"campaigns/transition table", testTransitions},
		{"campaigns/transition, concurrent", testTransitionRace},
		{"campaigns/secrets are erased", testSecretsErased},
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
	bare.Letter.ReplyTo, bare.Letter.Attachments = campaign.Mailbox{}, nil
	k.create(store.NewCampaign{Campaign: bare, Content: k.submission().Content})
	k.same(k.campaign(bare.ID), bare, "a campaign with little in it")
}

func testTakenID(k kit) {
	first := k.submission()
	k.create(first)
	second := k.submission()
	second.Campaign.ID = first.Campaign.ID
	second.Campaign.Name = "another"
	_, _, err := k.s.CreateCampaign(k.Context(), second)
	k.fails(err, campaign.CodeConflict, "CreateCampaign with a taken id")
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
		n.Campaign.Letter.Attachments = append(n.Campaign.Letter.Attachments, campaign.Attachment{
			Filename: fmt.Sprint("file ", size), ContentType: "application/octet-stream", ContentRef: ref,
		})
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
		k.fails(k.s.SetNotice(ctx, id, "n", k.at), campaign.CodeNotFound, "SetNotice")
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

// reach moves a new campaign to a status by legal steps, one second apart.
func (k kit) reach(status campaign.Status) campaign.Campaign {
	k.Helper()
	c := k.start()
	way := map[campaign.Status][]campaign.Status{
		campaign.StatusInProgress: {campaign.StatusInProgress},
		campaign.StatusCompleted:  {campaign.StatusInProgress, campaign.StatusCompleted},
		campaign.StatusFailed:     {campaign.StatusFailed},
	}
	for i, to := range way[status] {
		var err error
		c, err = k.s.Transition(k.Context(), c.ID, store.Transition{To: to, Reason: "by test", At: k.later(i + 1)})
		k.ok(err, "Transition")
	}
	return c
}

// transitioned is what the contract makes of a legal transition.
func transitioned(c campaign.Campaign, t store.Transition) campaign.Campaign {
	c.Status, c.Reason, c.UpdatedAt = t.To, t.Reason, t.At
	switch {
	case t.To == campaign.StatusInProgress:
		c.StartedAt = t.At
	case t.To.Terminal():
		c.FinishedAt, c.Notice, c.Relay.SealedPassword = t.At, "", nil
	}
	return c
}

func testTransitions(k kit) {
	all := []campaign.Status{campaign.StatusPending, campaign.StatusInProgress, campaign.StatusCompleted, campaign.StatusFailed}
	for _, from := range all {
		for _, to := range all {
			before := k.reach(from)
			k.same(before, k.campaign(before.ID), "what Transition returned")
			t := store.Transition{To: to, Reason: "why ⚠", At: k.later(60)}
			after, err := k.s.Transition(k.Context(), before.ID, t)
			want := before
			switch {
			case from == to:
				k.ok(err, "Transition to the same status")
			case from.CanBecome(to):
				k.ok(err, fmt.Sprintf("Transition from %s to %s", from, to))
				want = transitioned(before, t)
			default:
				k.fails(err, campaign.CodeConflict, fmt.Sprintf("Transition from %s to %s", from, to))
				after = want
			}
			k.same(after, want, fmt.Sprintf("the answer from %s to %s", from, to))
			k.same(k.campaign(before.ID), want, fmt.Sprintf("the campaign from %s to %s", from, to))
		}
	}
}

// testTransitionRace lets tasks move one campaign at the same time: all agree
// on one of the times.
func testTransitionRace(k kit) {
	c := k.start()
	var mu sync.Mutex
	var answers []campaign.Campaign
	var group sync.WaitGroup
	for i := range 6 {
		group.Go(func() {
			got, err := k.s.Transition(k.Context(), c.ID, store.Transition{To: campaign.StatusInProgress, At: k.later(i)})
			if err != nil {
				k.Errorf("Transition: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, got)
		})
	}
	group.Wait()
	for _, got := range answers {
		k.same(got, k.campaign(c.ID), "an answer of a concurrent transition")
	}
}

func testSecretsErased(k kit) {
	for _, end := range []campaign.Status{campaign.StatusCompleted, campaign.StatusFailed} {
		c := k.reach(campaign.StatusInProgress)
		k.ok(k.s.SetNotice(k.Context(), c.ID, "trouble", k.later(2)), "SetNotice")
		if got := k.campaign(c.ID); !slices.Equal(got.Relay.SealedPassword, c.Relay.SealedPassword) || len(got.Relay.SealedPassword) == 0 {
			k.Fatalf("sealed password is %x while the campaign runs", got.Relay.SealedPassword)
		}
		_, err := k.s.Transition(k.Context(), c.ID, store.Transition{To: end, At: k.later(3)})
		k.ok(err, "Transition")
		got := k.campaign(c.ID)
		if len(got.Relay.SealedPassword) != 0 || got.Notice != "" {
			k.Fatalf("%s campaign still has password %x and notice %q", end, got.Relay.SealedPassword, got.Notice)
		}
		found := false
		listed(k, 100, k.s.ListCampaigns, func(l campaign.Campaign) string {
			if l.ID == c.ID {
				found = true
				k.same(l, got, "the campaign in the listing")
			}
			return ""
		})
		if !found {
			k.Fatalf("the listing does not have the campaign")
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
	ended := k.reach(campaign.StatusFailed)
	k.ok(k.s.SetNotice(k.Context(), ended.ID, "too late", k.later(9)), "SetNotice on a terminal campaign")
	k.same(k.campaign(ended.ID), ended, "a terminal campaign after SetNotice")
}
