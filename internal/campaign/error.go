package campaign

import (
	"errors"
	"fmt"
	"strings"
)

// Code says what kind of failure an Error is. The API maps each code to one
// HTTP status; nothing else does.
type Code string

// The codes. A new one needs a row in the API's status table.
const (
	// CodeInvalid: the caller's input breaks a rule; Faults names the fields.
	CodeInvalid Code = "invalid"
	// CodeNotFound: the thing named does not exist.
	CodeNotFound Code = "not_found"
	// CodeConflict: the state changed meanwhile, or does not allow the call.
	CodeConflict Code = "conflict"
	// CodeKeyReused: an Idempotency-Key came again with another request.
	CodeKeyReused Code = "idempotency_key_reused"
	// CodeTooLarge: the input is above a stated limit.
	CodeTooLarge Code = "too_large"
	// CodeForbidden: the caller may not do this.
	CodeForbidden Code = "forbidden"
	// CodeUnavailable: something that Postern depends on does not answer;
	// the same call may succeed later.
	CodeUnavailable Code = "unavailable"
	// CodeDamaged: what is stored of the thing named cannot be read; a person
	// has to mend that.
	CodeDamaged Code = "damaged"
	// CodeInternal: a fault of Postern's own.
	CodeInternal Code = "internal"
)

// Fault is one rule that one field broke. Field is a path as a caller of the
// API writes it, such as "contacts[3].email". Rule never echoes a secret.
type Fault struct {
	Field string
	Rule  string
}

// Error is the error that crosses Postern's package borders. Message is for
// the person who can act; Err is the cause for the log.
type Error struct {
	Code    Code
	Message string
	Faults  []Fault
	Err     error
}

// Error gives the message, the faults and the cause.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for i, f := range e.Faults {
		sep := "; "
		if i == 0 {
			sep = ": "
			if e.Message == "" {
				sep = ""
			}
		}
		b.WriteString(sep + f.Field + " " + f.Rule)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error of the code with no cause.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an Error of the code around its cause. The message says what
// could not be done, without the cause: a caller of the API sees the message
// only, the log has both.
func Wrap(code Code, cause error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Err: cause}
}

// Invalid makes a CodeInvalid error about one field.
func Invalid(field, format string, args ...any) *Error {
	return InvalidAll([]Fault{{Field: field, Rule: fmt.Sprintf(format, args...)}})
}

// InvalidAll makes a CodeInvalid error that names every fault.
func InvalidAll(faults []Fault) *Error {
	return &Error{Code: CodeInvalid, Message: "invalid request", Faults: faults}
}

// CodeOf gives the code of the first Error in the chain; CodeInternal where
// there is none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
