package secret

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/aws/smithy-go"
)

// Error says, to the person who can mend it, why a secret was not to be had.
type Error struct {
	// Name is the secret's ARN, or what stands for it.
	Name string
	// Reason is what is wrong and what to look at.
	Reason string
	// Code is AWS's own name of the error, "" where AWS has not answered.
	Code string
	// Err is the cause, nil for none. It does not contain the secret.
	Err error
}

// Error gives all of it on one line.
func (e *Error) Error() string {
	text := e.Name + " " + e.Reason
	if e.Code != "" {
		text += " [" + e.Code + "]"
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// service is an AWS service that was asked for a secret.
type service struct {
	secret   string // what was asked for
	name     string
	region   string
	action   string // that IAM must allow
	endpoint string // of a VPC, without the region
	key      string // what else to look at when access is denied
}

func secretsManager(arn, region string) service {
	return service{
		secret: arn, name: "Secrets Manager", region: region, action: "secretsmanager:GetSecretValue", endpoint: "secretsmanager",
		key: "and, where the secret has a key of your own, kms:Decrypt in the role's policy and the key's",
	}
}

func keyService(name, region string) service {
	return service{secret: name, name: "KMS", region: region, action: "kms:Decrypt", endpoint: "kms", key: "and the key's own policy"}
}

// explain makes an Error of what the SDK returned. Its text is kept only where
// AWS answered with an error, or where no answer came: the failure to read an
// answer might quote the answer.
func explain(err error, s service) *Error {
	e := &Error{Name: s.secret}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		e.Code = api.ErrorCode()
		e.Reason = s.refusal(e.Code)
		if text := api.ErrorMessage(); text != "" {
			e.Err = errors.New(text)
		}
		return e
	}
	if netErr, ok := errors.AsType[net.Error](err); ok || errors.Is(err, context.DeadlineExceeded) {
		e.Reason = fmt.Sprintf("cannot be fetched: %s does not answer in %s; look at the way there: a VPC endpoint com.amazonaws.%s.%s with private DNS, and its security group",
			s.name, s.region, s.region, s.endpoint)
		e.Err = context.DeadlineExceeded
		if ok {
			e.Err = netErr
		}
		return e
	}
	if errors.Is(err, context.Canceled) {
		e.Reason, e.Err = "was not fetched", context.Canceled
		return e
	}
	e.Reason = fmt.Sprintf("cannot be fetched: the answer of %s in %s cannot be read", s.name, s.region)
	return e
}

// refusal says what to do about an error of the service, by its code.
func (s service) refusal(code string) string {
	switch code {
	case "AccessDeniedException", "AccessDenied":
		return fmt.Sprintf("may not be fetched: allow %s to the task's role (not the execution role), let the policy of the VPC endpoint %s pass it, %s",
			s.action, s.endpoint, s.key)
	case "ResourceNotFoundException":
		return fmt.Sprintf("is not in %s of %s, or has no value yet: look at the ARN, its region and its account", s.name, s.region)
	case "NotFoundException":
		return fmt.Sprintf("was encrypted with a key that is not in %s: is AWS_REGION the key's region?", s.region)
	case "DecryptionFailure", "DisabledException", "KMSInvalidStateException", "KeyUnavailableException":
		return "cannot be decrypted: look at the state of its KMS key (disabled, or to be deleted), and at the key's policy"
	case "InvalidRequestException":
		return "cannot be fetched as it is: has the secret been marked for deletion?"
	case "InvalidCiphertextException", "IncorrectKeyException":
		return fmt.Sprintf("is not what KMS has encrypted in %s without an encryption context: encrypt it again (aws kms encrypt --region %s)", s.region, s.region)
	case "ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException", "InvalidClientTokenId":
		return "cannot be asked for: AWS does not accept the credentials (expired? another partition? the clock?)"
	default:
		return fmt.Sprintf("cannot be fetched from %s in %s", s.name, s.region)
	}
}
