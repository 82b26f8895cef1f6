package dynamo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
	"postern/internal/store"
)

// reservedFor is how long a key waits for an acceptor that does not come back:
// above what any acceptance takes, short enough for a caller to try again.
// Tasks' wall clocks meet here, which can only make a caller wait longer or an
// acceptor fail: the transaction needs the reservation unchanged.
const reservedFor = 5 * time.Minute

// Attributes and states of an idempotency record.
const (
	recCampaign = "c"
	recDigest   = "d"
	recState    = "s"
	recPieces   = "m"

	stateAccepting = "accepting"
	stateDone      = "done"
)

// reservationKey is where a call is reserved: under its Idempotency-Key, or
// under its campaign's id where it has none.
func reservationKey(n store.NewCampaign) item {
	if n.IdempotencyKey == "" {
		return workKey("a#"+n.Campaign.ID, "reservation")
	}
	return keyRecord(n.IdempotencyKey)
}

// keyRecord hashes the Idempotency-Key, which may be longer than a key of
// DynamoDB.
func keyRecord(idempotencyKey string) item {
	sum := sha256.Sum256([]byte(idempotencyKey))
	return workKey("k#"+hex.EncodeToString(sum[:]), "reservation")
}

func seconds(t time.Time) types.AttributeValue { return num(t.Unix()) }

func reservationItem(a acceptance, now time.Time) item {
	pieces := item{}
	for name, of := range manifestOf(a.content) {
		pieces[name] = num(of)
	}
	it := reservationKey(a.NewCampaign)
	it[recCampaign], it[recDigest] = str(a.Campaign.ID), str(a.RequestDigest)
	it[recState], it[TTLAttribute] = str(stateAccepting), seconds(now.Add(reservedFor))
	it[recPieces] = &types.AttributeValueMemberM{Value: pieces}
	return it
}

// reserve takes the key for this call. Where the key's campaign is there
// already it gives that campaign's id. A reservation that has run out is taken
// over, and what its acceptor left is deleted.
func (s *Store) reserve(ctx context.Context, a acceptance) (known string, err error) {
	now := s.now()
	out, err := s.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: aws.String(s.work), Item: reservationItem(a, now),
		ConditionExpression:      aws.String("attribute_not_exists(pk) OR #e<:now OR (#c=:id AND #s=:accepting)"),
		ExpressionAttributeNames: map[string]string{"#e": TTLAttribute, "#c": recCampaign, "#s": recState},
		ExpressionAttributeValues: item{
			":now": seconds(now), ":id": str(a.Campaign.ID), ":accepting": str(stateAccepting),
		},
		ReturnValues:                        types.ReturnValueAllOld,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if old, failed := conditionFailed(err); failed {
		return knownKey(a.Digests(), old)
	}
	if err != nil {
		return "", call{opPut, s.work}.fail(ctx, err)
	}
	return "", s.sweep(ctx, a, out.Attributes)
}

// FindByKey implements store.Campaigns. A record that has run out counts for
// nothing, as in reserve: DynamoDB deletes it some time later.
func (s *Store) FindByKey(ctx context.Context, idempotencyKey string, digests ...string) (string, error) {
	if idempotencyKey == "" {
		return "", unknownKey()
	}
	record, found, err := s.getItem(ctx, s.work, keyRecord(idempotencyKey))
	if err != nil {
		return "", err
	}
	if !found || integer(record[TTLAttribute]) < s.now().Unix() {
		return "", unknownKey()
	}
	return knownKey(digests, record)
}

func unknownKey() error {
	return campaign.Errorf(campaign.CodeNotFound, "the Idempotency-Key is not known")
}

// knownKey reads the record of a key that is taken.
func knownKey(digests []string, old item) (string, error) {
	switch {
	case text(old[recState]) != stateDone:
		return "", campaign.Errorf(campaign.CodeConflict, "a request with this Idempotency-Key is being accepted; try again")
	case !store.SameRequest(text(old[recDigest]), digests):
		return "", campaign.Errorf(campaign.CodeKeyReused, "the Idempotency-Key was used for another request")
	}
	return text(old[recCampaign]), nil
}

// othersKey says whether an error of reserve means that the key is not this
// call's, so that there is nothing to take back.
func othersKey(err error) bool {
	code := campaign.CodeOf(err)
	return code == campaign.CodeConflict || code == campaign.CodeKeyReused
}

// sweep deletes the pieces of an acceptor whose reservation was taken over.
func (s *Store) sweep(ctx context.Context, a acceptance, old item) error {
	id := text(old[recCampaign])
	if text(old[recState]) != stateAccepting || id == a.Campaign.ID {
		return nil
	}
	left := manifest{}
	for name, of := range members(old[recPieces]) {
		left[name] = int(integer(of))
	}
	return s.deleteContent(ctx, id, left)
}

// settle makes the reservation the record of the key, if it is still this
// call's.
func (s *Store) settle(a acceptance) *update {
	u := newUpdate()
	u.require("%s=%s", recCampaign, str(a.Campaign.ID))
	u.require("%s=%s", recState, str(stateAccepting))
	u.set(recState, str(stateDone))
	u.set(TTLAttribute, seconds(s.now().Add(store.IdempotencyFor)))
	u.remove(recPieces)
	return u
}

// giveBack deletes this call's reservation. Done says that the campaign was
// made.
func (s *Store) giveBack(ctx context.Context, a acceptance) (done bool, err error) {
	_, err = s.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: aws.String(s.work), Key: reservationKey(a.NewCampaign),
		ConditionExpression:      aws.String("#c=:id AND #s=:accepting"),
		ExpressionAttributeNames: map[string]string{"#c": recCampaign, "#s": recState},
		ExpressionAttributeValues: item{
			":id": str(a.Campaign.ID), ":accepting": str(stateAccepting),
		},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if old, failed := conditionFailed(err); failed {
		return text(old[recState]) == stateDone && text(old[recCampaign]) == a.Campaign.ID, nil
	}
	return false, err
}
