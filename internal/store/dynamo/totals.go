package dynamo

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"postern/internal/campaign"
	"postern/internal/store"
)

// totalsShards is how many items share the counting of one campaign, so that
// checkpoints of different chunks seldom meet in one item.
const totalsShards = 32

// Attributes of totals. Those of states are the states' own names.
const (
	totalsTotal  = "total"
	totalsChunks = "chunks"
	totalsDone   = "done"
	totalsFinal  = "final"
	totalsAt     = "u"
)

func totalsPK(campaignID string) string { return "t#" + campaignID }

// totalsKey names the shard in which a unit of work is counted.
func totalsKey(key store.LeaseKey) item {
	return workKey(totalsPK(key.CampaignID), fmt.Sprintf("%02d", spread(key, totalsShards)))
}

// newTally begins a change to totals.
func newTally(at time.Time) *update {
	u := newUpdate()
	u.set(totalsAt, millis(at))
	return u
}

// countTerminal counts deliveries by their terminal states.
func countTerminal(deliveries []campaign.Delivery) map[campaign.DeliveryState]int64 {
	counts := map[campaign.DeliveryState]int64{}
	for _, d := range deliveries {
		if d.State.Terminal() {
			counts[d.State]++
		}
	}
	return counts
}

// tally makes a change to totals out of counts by terminal state, which may be
// below zero.
func (s *Store) tally(counts map[campaign.DeliveryState]int64) *update {
	u := newTally(s.now())
	for state, n := range counts {
		u.add(string(state), n)
	}
	return u
}

// workQuery reads a whole partition of EmailWork, strongly consistent.
func (s *Store) workQuery(pk string) *dynamodb.QueryInput {
	return &dynamodb.QueryInput{
		TableName: aws.String(s.work), ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String("pk=:pk"),
		ExpressionAttributeValues: item{":pk": str(pk)},
	}
}

// Totals implements store.Campaigns with one query, whose answer is far below
// a page.
func (s *Store) Totals(ctx context.Context, campaignID string) (campaign.Totals, error) {
	out, err := s.db.Query(ctx, s.workQuery(totalsPK(campaignID)))
	if err != nil {
		return campaign.Totals{}, call{opQuery, s.work}.fail(ctx, err)
	}
	var t campaign.Totals
	for _, it := range out.Items {
		t.Total += integer(it[totalsTotal])
		t.Chunks += integer(it[totalsChunks])
		t.ChunksDone += integer(it[totalsDone])
		t.Final = t.Final || truth(it[totalsFinal])
		for _, state := range campaign.DeliveryStates {
			t.Count(state, integer(it[string(state)]))
		}
		if at := fromMillis(it[totalsAt]); at.After(t.UpdatedAt) {
			t.UpdatedAt = at
		}
	}
	return t, nil
}
