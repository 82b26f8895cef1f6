package dynamo

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"

	"postern/internal/campaign"
)

// Names of operations, for errors.
const (
	opGet      = "GetItem"
	opPut      = "PutItem"
	opUpdate   = "UpdateItem"
	opDelete   = "DeleteItem"
	opQuery    = "Query"
	opScan     = "Scan"
	opBatchGet = "BatchGetItem"
	opTransact = "TransactWriteItems"
)

// UpsertContacts implements store.Contacts with one UpdateItem for each
// change.
func (s *Store) UpsertContacts(ctx context.Context, changes []campaign.ContactChange, at time.Time) error {
	return forEach(ctx, len(changes), func(ctx context.Context, i int) error {
		in := updateOf(changes[i], at).input(s.contacts, contactKey(changes[i].Key()))
		in.ReturnValues = types.ReturnValueNone
		if _, err := s.db.UpdateItem(ctx, in); err != nil {
			return s.notChanged(ctx, changes[i], err)
		}
		return nil
	})
}

// UpdateContact implements store.Contacts.
func (s *Store) UpdateContact(ctx context.Context, change campaign.ContactChange, at time.Time) (campaign.Contact, error) {
	u := updateOf(change, at)
	u.require("attribute_exists(%s)", attrEmail)
	out, err := s.db.UpdateItem(ctx, u.input(s.contacts, contactKey(change.Key())))
	if _, failed := conditionFailed(err); failed {
		return campaign.Contact{}, noContact()
	}
	if err != nil {
		return campaign.Contact{}, s.notChanged(ctx, change, err)
	}
	return contactOf(out.Attributes), nil
}

// largestItem is DynamoDB's limit.
const largestItem = 400 << 10

// notChanged is the error of a change that failed. DynamoDB calls a contact
// that has grown too large by many changes invalid like any nonsense, so the
// sizes tell.
func (s *Store) notChanged(ctx context.Context, change campaign.ContactChange, cause error) error {
	if isValidation(cause) {
		it, _, err := s.getItem(ctx, s.contacts, contactKey(change.Key()))
		if err == nil && itemOctets(it)+changeOctets(change) > largestItem {
			return &campaign.Error{
				Code: campaign.CodeInvalid, Err: cause,
				Message: "the contact " + change.Address + " would take more than 400 KB with this change",
			}
		}
	}
	return call{opUpdate, s.contacts}.fail(ctx, cause)
}

func changeOctets(change campaign.ContactChange) int {
	octets := 0
	for name, value := range change.Set {
		octets += len(name) + len(value)
	}
	return octets
}

// itemOctets is about the size that DynamoDB sees in a contact.
func itemOctets(it item) int {
	octets := 0
	for name, value := range it {
		octets += len(name) + len(text(value))
		for _, s := range texts(value) {
			octets += len(s) + 1
		}
	}
	return octets
}

func noContact() error { return campaign.Errorf(campaign.CodeNotFound, "Contact not found") }

// DeleteContact implements store.Contacts. Where the SDK had to try again and
// then found nobody, the first try may have been the one that took the
// contact away: that is no CodeNotFound.
func (s *Store) DeleteContact(ctx context.Context, key string) error {
	if key == "" { // which DynamoDB refuses as a key
		return noContact()
	}
	out, err := s.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: aws.String(s.contacts), Key: contactKey(key), ReturnValues: types.ReturnValueAllOld,
	})
	if err != nil {
		return call{opDelete, s.contacts}.fail(ctx, err)
	}
	if len(out.Attributes) == 0 && !triedAgain(out.ResultMetadata) {
		return noContact()
	}
	return nil
}

// triedAgain says whether the SDK needed more than one attempt.
func triedAgain(metadata middleware.Metadata) bool {
	results, ok := retry.GetAttemptResults(metadata)
	return ok && len(results.Results) > 1
}

// maxBatchGet is what one BatchGetItem takes.
const maxBatchGet = 100

// GetContacts implements store.Contacts.
func (s *Store) GetContacts(ctx context.Context, keys []string) ([]campaign.Contact, error) {
	items, err := s.batchGet(ctx, s.contacts, attrEmail, keys)
	contacts := make([]campaign.Contact, len(items))
	for i, it := range items {
		contacts[i] = contactOf(it)
	}
	return contacts, err
}

// batchGet reads items by their partition key, strongly consistent, in no
// particular order.
func (s *Store) batchGet(ctx context.Context, table, attribute string, keys []string) ([]item, error) {
	batches := slices.Collect(slices.Chunk(keys, maxBatchGet))
	var mu sync.Mutex
	var all []item
	err := forEach(ctx, len(batches), func(ctx context.Context, i int) error {
		items, err := s.getBatch(ctx, table, keysAndAttributes(attribute, batches[i]))
		mu.Lock()
		defer mu.Unlock()
		all = append(all, items...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func keysAndAttributes(attribute string, keys []string) types.KeysAndAttributes {
	k := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
	for _, key := range keys {
		k.Keys = append(k.Keys, item{attribute: str(key)})
	}
	return k
}

// getBatch asks again for what DynamoDB left unprocessed: answers above 16 MB
// and a table under load end a batch early.
func (s *Store) getBatch(ctx context.Context, table string, keys types.KeysAndAttributes) ([]item, error) {
	var items []item
	request := map[string]types.KeysAndAttributes{table: keys}
	for wait := newBackoff(); ; {
		out, err := s.db.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: request})
		if err != nil {
			return nil, call{opBatchGet, table}.fail(ctx, err)
		}
		got := out.Responses[table]
		items = append(items, got...)
		request = out.UnprocessedKeys
		if len(request) == 0 {
			return items, nil
		}
		if len(got) > 0 {
			wait = newBackoff()
		}
		if err := wait.next(ctx, errUnprocessed); err != nil {
			return nil, call{opBatchGet, table}.fail(ctx, err)
		}
	}
}

// ListContacts implements store.Contacts by a Scan, whose order is that of the
// partition keys' hashes: what is there all the time keeps its place.
func (s *Store) ListContacts(ctx context.Context, cursor string, limit int) ([]campaign.Contact, string, error) {
	after := ""
	if cursor != "" {
		var err error
		if after, err = listingContacts.keyOf(cursor); err != nil {
			return nil, "", err
		}
	}
	out, err := s.scanContacts(ctx, s.contactsAfter(after, limit))
	if err != nil {
		return nil, "", err
	}
	var contacts []campaign.Contact
	for _, it := range out.Items {
		if hasOwnKey(it) {
			contacts = append(contacts, contactOf(it))
		}
	}
	if len(out.LastEvaluatedKey) == 0 {
		return contacts, "", nil
	}
	return contacts, listingContacts.cursorTo(text(out.LastEvaluatedKey[attrEmail])), nil
}

// StatusesAfter implements store.Contacts by a Scan too, which is charged by
// what the contacts measure together, and not by each.
func (s *Store) StatusesAfter(ctx context.Context, key string, limit int) (map[string]campaign.ContactStatus, error) {
	in := s.contactsAfter(key, limit)
	in.ProjectionExpression = aws.String("#key,#status")
	in.ExpressionAttributeNames = map[string]string{"#key": attrEmail, "#status": attrStatus}
	out, err := s.scanContacts(ctx, in)
	if err != nil {
		return nil, err
	}
	statuses := make(map[string]campaign.ContactStatus, len(out.Items))
	for _, it := range out.Items {
		statuses[text(it[attrEmail])] = contactStatus(it)
	}
	return statuses, nil
}

// contactsAfter asks for a page of the contacts behind a key, "" for the first
// page.
func (s *Store) contactsAfter(key string, limit int) *dynamodb.ScanInput {
	in := &dynamodb.ScanInput{TableName: aws.String(s.contacts), ConsistentRead: aws.Bool(true), Limit: clamp(limit)}
	if key != "" {
		in.ExclusiveStartKey = contactKey(key)
	}
	return in
}

func (s *Store) scanContacts(ctx context.Context, in *dynamodb.ScanInput) (*dynamodb.ScanOutput, error) {
	out, err := s.db.Scan(ctx, in)
	if err != nil {
		return nil, call{opScan, s.contacts}.fail(ctx, err)
	}
	return out, nil
}

// clamp makes DynamoDB's kind of limit; a page ends at 1 MB anyway.
func clamp(limit int) *int32 {
	const most = 10_000
	return aws.Int32(int32(max(1, min(limit, most))))
}
