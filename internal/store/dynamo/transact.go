package dynamo

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
)

// Why a part of a transaction stopped it (CancellationReason.Code). Of the
// further ones, those about load pass by themselves as a conflict does.
const (
	reasonCondition = "ConditionalCheckFailed"
	reasonInvalid   = "ValidationError"
	reasonTooLarge  = "ItemCollectionSizeLimitExceeded"
)

// refusal says which parts of a transaction had conditions that did not hold,
// with the items as they were (empty where there was none). It is empty when
// the transaction was applied.
type refusal map[int]item

// transact applies all parts or none. It tries again where other transactions
// or load were in the way; what is left for the caller are conditions.
//
// The SDK gives each request a ClientRequestToken, the same in all its
// attempts, so an attempt whose answer was lost is recognised by DynamoDB
// within ten minutes. A token of our own would reach no further than the
// conditions on fence, version and stamp do, which hold for ever, so there is
// none: each round of this loop is a new request, as a cancelled one was not
// applied.
func (s *Store) transact(ctx context.Context, table string, parts ...types.TransactWriteItem) (refusal, error) {
	for wait := newBackoff(); ; {
		_, err := s.db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: parts})
		if err == nil {
			return refusal{}, nil
		}
		cancelled, is := errors.AsType[*types.TransactionCanceledException](err)
		if !is {
			return nil, call{opTransact, table}.fail(ctx, err)
		}
		refused, invalid := reasons(cancelled)
		if invalid {
			return nil, campaign.Wrap(campaign.CodeInternal, err, "DynamoDB refused a transaction on table %s as invalid", table)
		}
		if len(refused) > 0 {
			return refused, nil
		}
		if ended := wait.next(ctx, err); ended != nil {
			return nil, call{opTransact, table}.fail(ctx, ended)
		}
	}
}

// reasons tells conditions and invalid parts apart from what passes.
func reasons(cancelled *types.TransactionCanceledException) (refused refusal, invalid bool) {
	refused = refusal{}
	for i, reason := range cancelled.CancellationReasons {
		switch aws.ToString(reason.Code) {
		case reasonCondition:
			refused[i] = reason.Item
		case reasonInvalid, reasonTooLarge:
			invalid = true
		}
	}
	return refused, invalid
}
