package dynamo

import (
	"context"
	"maps"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
)

// adoptSegments is how many parts of the contacts table are read at once.
const adoptSegments = 4

// adopt brings the contacts of a table that another program has filled under
// Postern's keys. That program kept addresses as they were typed; a contact
// whose key is not campaign.Key, for an upper-case letter or a domain beyond
// ASCII, would be found by none of this package's methods, so it moves to that
// key and keeps its address as given. Where that key is there already, its
// contact is the one, and the other stays in the table, unread. It is done once for a table: a mark in EmailWork
// says so, and removing the mark has the next start do it again.
func (s *Store) adopt(ctx context.Context) error {
	mark := workKey("adopted", TableContacts)
	_, found, err := s.getItem(ctx, s.work, mark)
	if err != nil || found {
		return err
	}
	err = forEach(ctx, adoptSegments, func(ctx context.Context, i int) error {
		return s.adoptSegment(ctx, int32(i))
	})
	if err != nil {
		return err
	}
	mark[attrCreatedAt] = when(s.now())
	if _, err = s.db.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(s.work), Item: mark}); err != nil {
		return call{opPut, s.work}.fail(ctx, err)
	}
	return nil
}

func (s *Store) adoptSegment(ctx context.Context, segment int32) error {
	pages := dynamodb.NewScanPaginator(s.db, &dynamodb.ScanInput{
		TableName: aws.String(s.contacts), Segment: aws.Int32(segment), TotalSegments: aws.Int32(adoptSegments),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return call{opScan, s.contacts}.fail(ctx, err)
		}
		for _, it := range page.Items {
			if hasOwnKey(it) {
				continue
			}
			if err := s.adoptContact(ctx, it); err != nil {
				return err
			}
		}
	}
	return nil
}

// hasOwnKey says whether an item of the contacts table stands under the key
// that Postern gives it.
func hasOwnKey(it item) bool {
	key := text(it[attrEmail])
	return key == campaign.Key(key)
}

// adoptContact moves one contact. A condition that does not hold means that
// the contact is there under its own key already, or that another task was
// first.
func (s *Store) adoptContact(ctx context.Context, old item) error {
	given := text(old[attrEmail])
	it := maps.Clone(old)
	it[attrEmail] = str(campaign.Key(given))
	if it[attrAddress] == nil {
		it[attrAddress] = str(given)
	}
	_, err := s.transact(ctx, s.contacts,
		putPart(s.contacts, it, attrEmail),
		types.TransactWriteItem{Delete: &types.Delete{
			TableName: aws.String(s.contacts), Key: contactKey(given),
			ConditionExpression: aws.String("attribute_exists(" + attrEmail + ")"),
		}})
	return err
}
