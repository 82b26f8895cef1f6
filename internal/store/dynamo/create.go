package dynamo

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// abandonWithin bounds the clearing up behind a campaign that was not made.
const abandonWithin = 10 * time.Second

// largestAudience is up to what a packed selection stays in the campaign's
// item.
const largestAudience = 64 << 10

// acceptance is a campaign on its way into the store.
type acceptance struct {
	store.NewCampaign
	// digest identifies the call by its arguments.
	digest []byte
	item   item
	// content is NewCampaign's, and the audience where it is large.
	content map[string][]byte
	// event is the payload of the audit trail's first link.
	event []byte
}

func newAcceptance(n store.NewCampaign) (acceptance, error) {
	mark, err := stamp("create", n.Campaign, n.IdempotencyKey, n.RequestDigest, n.Nonce, slices.Sorted(maps.Keys(n.Content)))
	if err != nil {
		return acceptance{}, err
	}
	event, err := n.Event().Encode()
	if err != nil {
		return acceptance{}, err
	}
	a := acceptance{NewCampaign: n, digest: octets(mark), item: campaignItem(n.Campaign), content: n.Content, event: event}
	log := campaign.Chain{}.Next(n.Campaign.ID, 0, event)
	a.item[attrDigest], a.item[attrLog], a.item[attrLogHead] = mark, num(log.Links), bin(log.Head[:])
	packed, err := pack(selection(n.Campaign.Audience))
	if err != nil {
		return acceptance{}, campaign.Wrap(campaign.CodeInternal, err, "the audience cannot be packed")
	}
	a.item[attrAudience] = bin(packed)
	if len(packed) > largestAudience {
		a.item[attrAudience] = str(contentAudience)
		a.content = maps.Clone(n.Content)
		if a.content == nil {
			a.content = map[string][]byte{}
		}
		a.content[contentAudience] = packed
	}
	return a, nil
}

// made gives the campaign as it will be read.
func (a acceptance) made() campaign.Campaign {
	c := campaignOf(a.item)
	c.Audience = a.Campaign.Audience
	return c
}

// startsAt is when the campaign's work is due.
func (a acceptance) startsAt() time.Time {
	if a.Campaign.Status == campaign.StatusScheduled {
		return a.Campaign.SendAt
	}
	return a.Campaign.CreatedAt
}

// CreateCampaign implements store.Campaigns in three steps: a reservation of
// the Idempotency-Key (of the campaign's id where there is no key), the pieces
// of content, and one transaction of the campaign, its control lease, its
// place in the listing, its audit trail's first link and the reservation, which becomes the record of the
// key.
//
// A process that dies after the first step leaves the key reserved for
// reservedFor, and pieces that nobody reads: the next call with the key
// deletes them, and without a key they stay. Nothing of that sends, since
// there is neither campaign nor lease.
func (s *Store) CreateCampaign(ctx context.Context, n store.NewCampaign) (campaign.Campaign, bool, error) {
	a, err := newAcceptance(n)
	if err != nil {
		return campaign.Campaign{}, false, err
	}
	it, found, err := s.getItem(ctx, s.campaigns, campaignKey(n.Campaign.ID))
	if err != nil {
		return campaign.Campaign{}, false, err
	}
	if found {
		return s.madeBefore(ctx, a, it)
	}
	known, err := s.reserve(ctx, a)
	if known != "" {
		c, err := s.GetCampaign(ctx, known)
		return c, false, err
	}
	if othersKey(err) {
		return campaign.Campaign{}, false, err
	}
	if err == nil {
		err = s.accept(ctx, a)
	}
	if err != nil {
		return s.abandon(ctx, a, err)
	}
	return a.made(), true, nil
}

// madeBefore answers when the id is taken: by this very call when an earlier
// answer of it was lost.
func (s *Store) madeBefore(ctx context.Context, a acceptance, it item) (campaign.Campaign, bool, error) {
	if !bytes.Equal(octets(it[attrDigest]), a.digest) {
		return campaign.Campaign{}, false, idTaken(a.Campaign.ID)
	}
	c, err := s.readCampaign(ctx, it)
	return c, err == nil, err
}

func idTaken(id string) error {
	return campaign.Errorf(campaign.CodeConflict, "campaign id %s is taken", id)
}

// accept stores what a reservation was made for.
func (s *Store) accept(ctx context.Context, a acceptance) error {
	id := a.Campaign.ID
	if err := s.putContent(ctx, id, a.content); err != nil {
		return err
	}
	control := store.LeaseKey{CampaignID: id}
	_, link := s.appendLink(control, campaign.Chain{}, a.event)
	const campaignPart, reservationPart = 0, 3
	refused, err := s.transact(ctx, s.campaigns,
		putPart(s.campaigns, a.item, attrCampaignID),
		putPart(s.work, newLease(control, a.startsAt(), 0), "pk"),
		putPart(s.work, workKey(pkListing, id), ""),
		s.settle(a).part(s.work, reservationKey(a.NewCampaign)),
		link[0])
	if err != nil || len(refused) == 0 {
		return err
	}
	if old, is := refused[campaignPart]; is && bytes.Equal(octets(old[attrDigest]), a.digest) {
		return nil // an earlier attempt of this call, whose answer was lost
	}
	if _, is := refused[reservationPart]; is {
		return campaign.Errorf(campaign.CodeConflict, "the reservation of the Idempotency-Key has run out")
	}
	return idTaken(id)
}

// abandon takes back what a failed call has stored. The reservation goes
// first: without it the transaction cannot be applied any more, not even by an
// attempt that is still on its way. Where the transaction was applied although
// it seemed to fail, the reservation says so and the call has succeeded.
func (s *Store) abandon(ctx context.Context, a acceptance, cause error) (campaign.Campaign, bool, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonWithin)
	defer cancel()
	done, err := s.giveBack(ctx, a)
	if done {
		return a.made(), true, nil
	}
	if err == nil {
		// What cannot be deleted is never read: the cause tells more.
		_ = s.clear(ctx, a)
	}
	return campaign.Campaign{}, false, cause
}

// clear deletes the call's pieces, unless a campaign with the same id has come
// in between, whose pieces they may be.
func (s *Store) clear(ctx context.Context, a acceptance) error {
	_, found, err := s.getItem(ctx, s.campaigns, campaignKey(a.Campaign.ID))
	if err != nil || found {
		return err
	}
	return s.deleteContent(ctx, a.Campaign.ID, manifestOf(a.content))
}
