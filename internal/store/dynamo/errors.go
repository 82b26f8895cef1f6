package dynamo

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"postern/internal/campaign"
)

// call names what was done and to which table, for errors.
type call struct {
	op    string // as in the API and in IAM policies, such as "GetItem"
	table string
}

// Error codes of AWS that the DynamoDB package has no types for. They are the
// protocol's own names, not messages.
const (
	codeAccessDenied   = "AccessDeniedException"
	codeValidation     = "ValidationException"
	codeExpiredToken   = "ExpiredTokenException"
	codeBadToken       = "UnrecognizedClientException"
	codeBadSignature   = "InvalidSignatureException"
	codeNoCredentials  = "MissingAuthenticationTokenException"
	codeIncompleteSign = "IncompleteSignatureException"
)

// fail turns an error of the SDK into Postern's. Everything that may pass, or
// that a person at AWS's console can mend, is CodeUnavailable; what is left is
// a fault of this package.
func (c call) fail(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return campaign.Wrap(campaign.CodeUnavailable, fmt.Errorf("%w (%w)", ended, err),
			"DynamoDB did not answer %s on table %s in time", c.op, c.table)
	}
	if _, is := errors.AsType[*types.ResourceNotFoundException](err); is {
		return campaign.Wrap(campaign.CodeUnavailable, err, "DynamoDB table %s is missing; %s", c.table, howToMake)
	}
	api, is := errors.AsType[smithy.APIError](err)
	if !is {
		return campaign.Wrap(campaign.CodeUnavailable, err, "DynamoDB cannot be reached for %s on table %s", c.op, c.table)
	}
	switch api.ErrorCode() {
	case codeAccessDenied:
		return campaign.Wrap(campaign.CodeUnavailable, err,
			"the task role or the VPC endpoint's policy does not allow dynamodb:%s on table %s", c.action(), c.table)
	case codeExpiredToken, codeBadToken, codeBadSignature, codeNoCredentials, codeIncompleteSign:
		return campaign.Wrap(campaign.CodeUnavailable, err,
			"DynamoDB does not accept the AWS credentials for %s on table %s", c.op, c.table)
	case codeValidation:
		return campaign.Wrap(campaign.CodeInternal, err, "DynamoDB refused %s on table %s as invalid", c.op, c.table)
	}
	if api.ErrorFault() == smithy.FaultClient && !passes(err) {
		return campaign.Wrap(campaign.CodeInternal, err, "DynamoDB refused %s on table %s", c.op, c.table)
	}
	return campaign.Wrap(campaign.CodeUnavailable, err, "DynamoDB cannot do %s on table %s now", c.op, c.table)
}

// action is what an IAM policy has to allow. TransactWriteItems is allowed by
// the actions that it is made of.
func (c call) action() string {
	if c.op == opTransact {
		return "PutItem, dynamodb:UpdateItem, dynamodb:DeleteItem or dynamodb:ConditionCheckItem"
	}
	return c.op
}

// passes says whether a refusal is about load or timing, so that the same
// request may succeed later.
func passes(err error) bool {
	return isType[*types.ProvisionedThroughputExceededException](err) ||
		isType[*types.RequestLimitExceeded](err) ||
		isType[*types.ThrottlingException](err) ||
		isType[*types.LimitExceededException](err) ||
		isType[*types.TransactionInProgressException](err) ||
		isType[*types.TransactionConflictException](err) ||
		isType[*types.TransactionCanceledException](err) ||
		isType[*types.InternalServerError](err)
}

func isType[E error](err error) bool {
	_, is := errors.AsType[E](err)
	return is
}

// conditionFailed gives the item as it was when the condition of a single
// write did not hold; empty when there was none.
func conditionFailed(err error) (old item, failed bool) {
	e, is := errors.AsType[*types.ConditionalCheckFailedException](err)
	if !is {
		return nil, false
	}
	return e.Item, true
}

// isValidation says whether DynamoDB took the request itself as wrong.
func isValidation(err error) bool {
	api, is := errors.AsType[smithy.APIError](err)
	return is && api.ErrorCode() == codeValidation
}
