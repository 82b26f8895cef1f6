package bolt

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// expiredAtOnce is how many forgotten Idempotency-Keys a new one takes with
// it: more than one, so that they become fewer, and few, so that it is cheap.
const expiredAtOnce = 8

// creation is a CreateCampaign call.
type creation struct {
	store.NewCampaign

	value  campaignValue
	event  []byte  // the payload of the audit trail's first link
	pieces []piece // of the content, those that are not stored yet
}

// outcome is what a CreateCampaign call returns.
type outcome struct {
	campaign campaign.Campaign
	created  bool
}

// CreateCampaign implements store.Campaigns.
func (s *Store) CreateCampaign(ctx context.Context, n store.NewCampaign) (c campaign.Campaign, created bool, err error) {
	v, err := newCampaignValue(n)
	if err != nil {
		return campaign.Campaign{}, false, err
	}
	event, err := n.Event().Encode()
	if err != nil {
		return campaign.Campaign{}, false, err
	}
	v.Campaign.Log = campaign.Chain{}.Next(n.Campaign.ID, 0, event)
	call, create := creation{NewCampaign: n, value: v, event: event, pieces: piecesOf(n)}, s.create
	if oneCommit(call.pieces) < len(call.pieces) {
		create = s.createLarge
	}
	o, err := create(ctx, call)
	if err != nil {
		return campaign.Campaign{}, false, err
	}
	return o.campaign, o.created, nil
}

// create makes the campaign with the rest of its content.
func (s *Store) create(ctx context.Context, c creation) (o outcome, err error) {
	err = s.update(ctx, func(t *tx) (err error) {
		done := false
		if o, done, err = t.doneBefore(c); done || err != nil {
			return err
		}
		o = outcome{campaign: c.value.Campaign, created: true}
		return t.create(c)
	})
	return o, err
}

// doneBefore gives the outcome of a call whose Idempotency-Key is known, or
// which has made its campaign before. CodeKeyReused, CodeConflict.
func (t *tx) doneBefore(c creation) (o outcome, done bool, err error) {
	known, found, err := t.knownRequest(c.NewCampaign)
	if err != nil || found {
		return outcome{campaign: known}, found, err
	}
	stored, err := t.campaign(c.Campaign.ID)
	switch {
	case campaign.CodeOf(err) == campaign.CodeNotFound:
		return outcome{}, false, nil
	case err != nil:
		return outcome{}, false, err
	case stored.Token != c.value.Token:
		return outcome{}, false, campaign.Errorf(campaign.CodeConflict, "a campaign with id %s exists already", c.Campaign.ID)
	}
	return outcome{campaign: stored.Campaign, created: true}, true, nil
}

// newCampaignValue gives the campaign as it is stored.
func newCampaignValue(n store.NewCampaign) (campaignValue, error) {
	c := n.Campaign
	for _, t := range []*time.Time{&c.CreatedAt, &c.UpdatedAt, &c.StartedAt, &c.FinishedAt, &c.SendAt, &c.RunningSince} {
		*t = milliseconds(*t)
	}
	// Content is named by its digests in the campaign.
	arguments, err := json.Marshal([]any{c, n.IdempotencyKey, n.RequestDigest, n.Nonce})
	if err != nil {
		return campaignValue{}, campaign.Wrap(campaign.CodeInternal, err, "cannot encode campaign %s", c.ID)
	}
	return campaignValue{Campaign: c, Token: tokenOf("CreateCampaign", arguments)}, nil
}

func (t *tx) create(c creation) error {
	if err := t.putPieces(c.pieces); err != nil {
		return err
	}
	if err := t.delete(unfinishedBucket, []byte(c.Campaign.ID)); err != nil {
		return err
	}
	control := store.Lease{Key: store.LeaseKey{CampaignID: c.Campaign.ID}, DueAt: c.value.Campaign.CreatedAt}
	if c.value.Campaign.Status == campaign.StatusScheduled {
		control.DueAt = c.value.Campaign.SendAt
	}
	if err := t.addLease(control); err != nil {
		return err
	}
	if err := t.remember(c.NewCampaign, c.value.Campaign.CreatedAt); err != nil {
		return err
	}
	if _, err := t.appendLink(control.Key, campaign.Chain{}, c.event); err != nil {
		return err
	}
	return t.putCampaign(c.value)
}

// FindByKey implements store.Campaigns. No call with a key is ever seen under
// way: one transaction makes the campaign and its key.
func (s *Store) FindByKey(ctx context.Context, idempotencyKey string, digests ...string) (string, error) {
	var id string
	err := s.view(ctx, func(t *tx) (err error) {
		id, err = t.campaignOfKey(idempotencyKey, digests)
		return err
	})
	return id, err
}

// knownRequest gives the campaign of a known Idempotency-Key.
func (t *tx) knownRequest(n store.NewCampaign) (c campaign.Campaign, found bool, err error) {
	id, err := t.campaignOfKey(n.IdempotencyKey, n.Digests())
	if campaign.CodeOf(err) == campaign.CodeNotFound {
		return c, false, nil
	}
	if err != nil {
		return c, false, err
	}
	v, err := t.campaign(id)
	return v.Campaign, err == nil, err
}

// campaignOfKey gives the id of the campaign that an Idempotency-Key made.
// CodeNotFound, CodeKeyReused.
func (t *tx) campaignOfKey(idempotencyKey string, digests []string) (id string, err error) {
	key := sha256.Sum256([]byte(idempotencyKey))
	value := t.get(idempotencyBucket, key[:])
	if value == nil { // always so for "", which remember does not store
		return "", campaign.Errorf(campaign.CodeNotFound, "the Idempotency-Key is not known")
	}
	d := newDecoder(value)
	digest, id := d.string(), d.string()
	if err := d.done(); err != nil {
		return "", damaged(idempotencyBucket, key[:], err)
	}
	if !store.SameRequest(digest, digests) {
		return "", campaign.Errorf(campaign.CodeKeyReused, "the Idempotency-Key was used with another request")
	}
	return id, nil
}

// remember stores the Idempotency-Key and forgets some that are old enough.
func (t *tx) remember(n store.NewCampaign, at time.Time) error {
	if n.IdempotencyKey == "" {
		return nil
	}
	if err := t.forget(at.Add(-store.IdempotencyFor)); err != nil {
		return err
	}
	key := sha256.Sum256([]byte(n.IdempotencyKey))
	e := newEncoder(128)
	e.string(n.RequestDigest)
	e.string(n.Campaign.ID)
	if err := t.put(idempotencyBucket, key[:], e); err != nil {
		return err
	}
	return t.put(idempotencyAgeBucket, timeKey(at, key[:]), []byte{})
}

func (t *tx) forget(before time.Time) error {
	var old [][]byte
	c, end := t.cursor(idempotencyAgeBucket), timeKey(before, nil)
	for key, _ := c.First(); key != nil && string(key) < string(end) && len(old) < expiredAtOnce; key, _ = c.Next() {
		old = append(old, slices.Clone(key))
	}
	for _, key := range old {
		if err := t.delete(idempotencyBucket, key[timeKeySize:]); err != nil {
			return err
		}
		if err := t.delete(idempotencyAgeBucket, key); err != nil {
			return err
		}
	}
	return nil
}
