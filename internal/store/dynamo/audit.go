package dynamo

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
	"postern/internal/store"
)

// Attributes of a link of the audit trail, and of a chain's end in the item
// that has it: a chunk's lease, or the campaign.
const (
	linkHash    = "h"
	linkPayload = "p"
	attrLinks   = "al"
	attrHead    = "ah"
	attrLog     = "log_links"
	attrLogHead = "log_head"
)

// skLink leads a link's sort key; its number follows in so many digits that
// links sort by it.
const skLink = "link#"

func linkKey(key store.LeaseKey, link int64) item {
	return workKey(chunkID(key), fmt.Sprintf("%s%012d", skLink, link))
}

// chainOf reads a chain's end; one that is not there has no links.
func chainOf(it item, links, head string) campaign.Chain {
	c := campaign.Chain{Links: integer(it[links])}
	copy(c.Head[:], octets(it[head]))
	return c
}

// setChain writes a chunk's chain into an update of its lease.
func (u *update) setChain(c campaign.Chain) {
	if c.Links > 0 {
		u.set(attrLinks, num(c.Links))
		u.set(attrHead, bin(c.Head[:]))
	}
}

// appendLink gives the end of a chain behind one more link, and the part of the
// transaction that stores it, on the condition that there is none. Without a
// payload there is nothing to tell, and no part.
func (s *Store) appendLink(key store.LeaseKey, c campaign.Chain, payload []byte) (campaign.Chain, []types.TransactWriteItem) {
	if payload == nil {
		return c, nil
	}
	next := c.Next(key.CampaignID, key.Number, payload)
	it := linkKey(key, next.Links)
	it[linkHash], it[linkPayload] = bin(next.Head[:]), bin(payload)
	return next, []types.TransactWriteItem{putPart(s.work, it, "pk")}
}

// logEvent adds an event to the campaign's own chain: to the update of the
// campaign, under the condition that the chain is as seen, and as the part of
// the transaction that is given.
func (s *Store) logEvent(u *update, id string, seen campaign.Chain, e campaign.Event) (types.TransactWriteItem, error) {
	payload, err := e.Encode()
	if err != nil {
		return types.TransactWriteItem{}, err
	}
	next, link := s.appendLink(store.LeaseKey{CampaignID: id}, seen, payload)
	if seen.Links == 0 {
		u.require("attribute_not_exists(%s)", attrLog)
	} else {
		u.require("%s=%s", attrLog, num(seen.Links))
		u.require("%s=%s", attrLogHead, bin(seen.Head[:]))
	}
	u.set(attrLog, num(next.Links))
	u.set(attrLogHead, bin(next.Head[:]))
	return link[0], nil
}

// AppendEvent implements store.Audit.
func (s *Store) AppendEvent(ctx context.Context, campaignID string, seen campaign.Chain, e campaign.Event) (campaign.Chain, error) {
	if campaignID == "" {
		return campaign.Chain{}, noCampaign()
	}
	u := newUpdate()
	u.require("attribute_exists(%s)", attrCampaignID)
	link, err := s.logEvent(u, campaignID, seen, e)
	if err != nil {
		return campaign.Chain{}, err
	}
	next := seen.Next(campaignID, 0, octets(link.Put.Item[linkPayload]))
	refused, err := s.transact(ctx, s.campaigns, u.part(s.campaigns, campaignKey(campaignID)), link)
	if err != nil || len(refused) == 0 {
		return next, err
	}
	if old, is := refused[0]; is && len(old) == 0 {
		return campaign.Chain{}, noCampaign()
	}
	return next, s.appendedAlready(ctx, campaignID, next)
}

// appendedAlready is a conflict unless the chain has had that end.
func (s *Store) appendedAlready(ctx context.Context, id string, end campaign.Chain) error {
	it, _, err := s.getItem(ctx, s.work, linkKey(store.LeaseKey{CampaignID: id}, end.Links))
	if err != nil || bytes.Equal(octets(it[linkHash]), end.Head[:]) {
		return err
	}
	return campaign.Errorf(campaign.CodeConflict, "the audit trail of campaign %s has gone on meanwhile", id)
}

// AuditLinks implements store.Audit.
func (s *Store) AuditLinks(ctx context.Context, key store.LeaseKey, after int64, limit int) ([]campaign.Link, error) {
	var links []campaign.Link
	in := s.workQuery(chunkID(key))
	in.KeyConditionExpression = aws.String("pk=:pk AND sk BETWEEN :first AND :last")
	in.ExpressionAttributeValues[":first"] = linkKey(key, after+1)["sk"]
	in.ExpressionAttributeValues[":last"] = str(skLink + "~")
	for len(links) < limit {
		in.Limit = clamp(limit - len(links))
		page, err := s.db.Query(ctx, in)
		if err != nil {
			return nil, call{opQuery, s.work}.fail(ctx, err)
		}
		for _, it := range page.Items {
			l, err := linkOf(it)
			if err != nil {
				return nil, err
			}
			links = append(links, l)
		}
		if len(page.LastEvaluatedKey) == 0 {
			break
		}
		in.ExclusiveStartKey = page.LastEvaluatedKey
	}
	return links, nil
}

func linkOf(it item) (campaign.Link, error) {
	var number int64
	if _, err := fmt.Sscanf(strings.TrimPrefix(text(it["sk"]), skLink), "%d", &number); err != nil {
		return campaign.Link{}, damaged(err, "link "+text(it["sk"]))
	}
	l := campaign.Link{Number: number, Payload: octets(it[linkPayload])}
	copy(l.Hash[:], octets(it[linkHash]))
	return l, nil
}
