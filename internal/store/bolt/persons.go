package bolt

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// EraseRecipient implements store.Persons. The token stays: who has closed the
// lease may repeat that call behind it.
func (s *Store) EraseRecipient(ctx context.Context, seen store.Lease, e store.Erasure) (store.Lease, error) {
	var out store.Lease
	err := s.update(ctx, func(t *tx) error {
		v, err := t.lease(seen.Key)
		if err != nil {
			return err
		}
		if v.Closed && v.Version == seen.Version+1 && v.Fence == seen.Fence && bytes.Equal(t.get(audienceBucket, leaseKey(seen.Key)), e.Packed) {
			out = v.Lease
			return nil
		}
		if !v.Closed || v.Version != seen.Version || v.Fence != seen.Fence {
			return errLost(seen.Key)
		}
		if err := t.put(audienceBucket, leaseKey(seen.Key), e.Packed); err != nil {
			return err
		}
		if err := t.eraseRow(seen.Key, e.Index); err != nil {
			return err
		}
		old := v.Lease
		v.Version++
		v.Progress = old.Progress.Clone()
		v.Progress.Forget(e.Index)
		out, err = t.replaceLease(old, v)
		return err
	})
	return out, err
}

// eraseRow takes the person out of a recipient's rows, earlier ones included.
func (t *tx) eraseRow(key store.LeaseKey, index int) error {
	changed := map[string][]byte{}
	prefix := leaseKey(key)
	c := t.cursor(deliveriesBucket)
	for k, value := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, value = c.Next() {
		rows := map[int]campaign.Delivery{}
		if err := decodeDeliveries(value, rows); err != nil {
			return damaged(deliveriesBucket, k, err)
		}
		row, there := rows[index]
		if !there {
			continue
		}
		rows[index] = store.Nameless(row)
		sorted := slices.SortedFunc(maps.Values(rows), func(a, b campaign.Delivery) int { return a.Index - b.Index })
		changed[string(k)] = encodeDeliveries(sorted)
	}
	for k, value := range changed {
		if err := t.put(deliveriesBucket, []byte(k), value); err != nil {
			return err
		}
	}
	return nil
}

// EraseAddress implements store.Persons.
func (s *Store) EraseAddress(ctx context.Context, campaignID, key string) error {
	_, err := s.changeCampaign(ctx, campaignID, func(_ *tx, v *campaignValue) (named bool, err error) {
		v.Campaign.Audience.Addresses, named = store.WithoutAddress(v.Campaign.Audience.Addresses, key)
		return named, nil
	})
	return err
}

// EraseAddresses implements store.Persons.
func (s *Store) EraseAddresses(ctx context.Context, campaignID string) error {
	_, err := s.changeCampaign(ctx, campaignID, func(t *tx, v *campaignValue) (bool, error) {
		c := &v.Campaign
		if len(c.Audience.Addresses) == 0 {
			return false, nil
		}
		control, err := t.lease(store.LeaseKey{CampaignID: campaignID})
		if err != nil {
			return false, err
		}
		if !control.Freeze.Final && c.Status != campaign.StatusCancelled && c.ExpiredAt.IsZero() {
			return false, campaign.Errorf(campaign.CodeConflict, "the campaign's audience is not final")
		}
		c.Audience.Addresses = nil
		return true, nil
	})
	return err
}

// Expire implements store.Persons.
func (s *Store) Expire(ctx context.Context, campaignID string, finishedBefore, at time.Time) error {
	_, err := s.changeCampaign(ctx, campaignID, func(_ *tx, v *campaignValue) (bool, error) {
		c := &v.Campaign
		switch {
		case !c.ExpiredAt.IsZero():
			return false, nil
		case !c.Status.Ended():
			return false, campaign.Errorf(campaign.CodeConflict, "the campaign is %s and has not ended", c.Status)
		case !c.FinishedAt.Before(finishedBefore):
			return false, campaign.Errorf(campaign.CodeConflict, "the campaign ended too short a time ago")
		}
		c.ExpiredAt = milliseconds(at)
		return true, nil
	})
	return err
}

// EraseChunk implements store.Persons.
func (s *Store) EraseChunk(ctx context.Context, key store.LeaseKey) error {
	return s.update(ctx, func(t *tx) error {
		if err := t.delete(audienceBucket, leaseKey(key)); err != nil {
			return err
		}
		prefix := leaseKey(key)
		var rows [][]byte
		c := t.cursor(deliveriesBucket)
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			rows = append(rows, bytes.Clone(k))
		}
		for _, k := range rows {
			if err := t.delete(deliveriesBucket, k); err != nil {
				return err
			}
		}
		return nil
	})
}
