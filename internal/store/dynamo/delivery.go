package dynamo

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
	"postern/internal/store"
)

// Attributes of a row in EmailDeliveries, short because a row has to stay
// below the kilobyte that one write unit pays for.
const (
	rowChunk     = "chunk"
	rowIndex     = "i"
	rowAddress   = "a"
	rowState     = "s"
	rowAttempts  = "t"
	rowReply     = "r"
	rowMessageID = "m"
	rowDigest    = "h"
	rowUpdated   = "u"
	rowNext      = "n"
)

func rowItem(key store.LeaseKey, d campaign.Delivery) item {
	it := item{
		rowChunk: str(chunkID(key)), rowIndex: num(d.Index), rowAddress: str(d.Address),
		rowState: str(string(d.State)), rowAttempts: num(d.Attempts), rowUpdated: millis(d.UpdatedAt),
	}
	putStr(it, rowReply, d.Reply)
	putStr(it, rowMessageID, d.MessageID)
	if len(d.Digest) > 0 {
		it[rowDigest] = bin(d.Digest)
	}
	if !d.NextAttempt.IsZero() {
		it[rowNext] = millis(d.NextAttempt)
	}
	return it
}

func rowOf(it item) campaign.Delivery {
	return campaign.Delivery{
		Index: int(integer(it[rowIndex])), Address: text(it[rowAddress]),
		State: campaign.DeliveryState(text(it[rowState])), Attempts: int(integer(it[rowAttempts])),
		Reply: text(it[rowReply]), MessageID: text(it[rowMessageID]), Digest: octets(it[rowDigest]),
		UpdatedAt: fromMillis(it[rowUpdated]), NextAttempt: fromMillis(it[rowNext]),
	}
}

// rowParts writes rows whatever was there: the lease's condition stands for
// theirs.
func (s *Store) rowParts(key store.LeaseKey, deliveries []campaign.Delivery) []types.TransactWriteItem {
	parts := make([]types.TransactWriteItem, len(deliveries))
	for i, d := range deliveries {
		parts[i] = putPart(s.deliveries, rowItem(key, d), "")
	}
	return parts
}

// Deliveries implements store.Work.
func (s *Store) Deliveries(ctx context.Context, key store.LeaseKey) ([]campaign.Delivery, error) {
	pages := dynamodb.NewQueryPaginator(s.db, &dynamodb.QueryInput{
		TableName: aws.String(s.deliveries), ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String("chunk=:chunk"),
		ExpressionAttributeValues: item{":chunk": str(chunkID(key))},
	})
	var deliveries []campaign.Delivery
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, call{opQuery, s.deliveries}.fail(ctx, err)
		}
		for _, it := range page.Items {
			deliveries = append(deliveries, rowOf(it))
		}
	}
	return deliveries, nil
}
