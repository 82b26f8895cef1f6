package bolt

import (
	"bytes"
	"context"
	"encoding/binary"

	"postern/internal/campaign"
	"postern/internal/store"
)

// AppendEvent implements store.Audit.
func (s *Store) AppendEvent(ctx context.Context, campaignID string, seen campaign.Chain, e campaign.Event) (campaign.Chain, error) {
	payload, err := e.Encode()
	if err != nil {
		return campaign.Chain{}, err
	}
	next := seen.Next(campaignID, 0, payload)
	_, err = s.changeCampaign(ctx, campaignID, func(t *tx, v *campaignValue) (bool, error) {
		if v.Campaign.Log != seen {
			return false, t.appendedAlready(store.LeaseKey{CampaignID: campaignID}, next)
		}
		var err error
		v.Campaign.Log, err = t.appendLink(store.LeaseKey{CampaignID: campaignID}, seen, payload)
		return true, err
	})
	if err != nil {
		return campaign.Chain{}, err
	}
	return next, nil
}

// appendedAlready is a conflict unless the chain has had that end.
func (t *tx) appendedAlready(key store.LeaseKey, end campaign.Chain) error {
	if value := t.get(auditBucket, linkKey(key, end.Links)); bytes.HasSuffix(value, end.Head[:]) {
		return nil
	}
	return campaign.Errorf(campaign.CodeConflict, "the audit trail of campaign %s has gone on meanwhile", key.CampaignID)
}

// logEvent appends an event to the campaign's own chain.
func (t *tx) logEvent(c *campaign.Campaign, e campaign.Event) error {
	payload, err := e.Encode()
	if err != nil {
		return err
	}
	c.Log, err = t.appendLink(store.LeaseKey{CampaignID: c.ID}, c.Log, payload)
	return err
}

// appendLink stores the link behind a chain's end, and gives the end as it is
// then. Without a payload there is nothing to tell. It may use what capacity the
// payload has beyond its length.
func (t *tx) appendLink(key store.LeaseKey, c campaign.Chain, payload []byte) (campaign.Chain, error) {
	if payload == nil {
		return c, nil
	}
	next := c.Next(key.CampaignID, key.Number, payload)
	place := linkKey(key, next.Links)
	if t.get(auditBucket, place) != nil {
		return c, campaign.Errorf(campaign.CodeInternal, "link %d of chunk %d of campaign %s is there, and its chain has %d",
			next.Links, key.Number, key.CampaignID, c.Links)
	}
	return next, t.put(auditBucket, place, append(payload, next.Head[:]...))
}

// AuditLinks implements store.Audit.
func (s *Store) AuditLinks(ctx context.Context, key store.LeaseKey, after int64, limit int) ([]campaign.Link, error) {
	var out []campaign.Link
	err := s.view(ctx, func(t *tx) error {
		prefix := leaseKey(key)
		c := t.cursor(auditBucket)
		for k, value := c.Seek(linkKey(key, after+1)); bytes.HasPrefix(k, prefix) && len(out) < limit; k, value = c.Next() {
			l := campaign.Link{Number: int64(binary.BigEndian.Uint64(k[len(prefix):]))}
			end := len(value) - len(l.Hash)
			if end < 0 {
				return damaged(auditBucket, k, errValue)
			}
			l.Payload = bytes.Clone(value[:end])
			copy(l.Hash[:], value[end:])
			out = append(out, l)
		}
		return nil
	})
	return out, err
}

// linkKey is the chain's key and the link's number.
func linkKey(key store.LeaseKey, link int64) []byte {
	return binary.BigEndian.AppendUint64(leaseKey(key), uint64(link))
}
