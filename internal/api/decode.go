package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"postern/internal/campaign"
)

// Limits of a JSON text. They bound the memory that decoding takes beyond the
// text itself: without them a text of "{},{},{}..." becomes many times its
// size.
const (
	maxDepth    = 32
	maxMembers  = 1000
	maxElements = 10000
)

// ruleError is the rule that a JSON value broke, from a type's own decoding.
type ruleError string

// Error gives the rule.
func (e ruleError) Error() string { return string(e) }

// readJSON reads a request's body into v and returns the body as it came. The
// error names the path of what is wrong.
func readJSON(r *http.Request, v any) ([]byte, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	return body, decode(body, v)
}

// decode is the one door through which JSON comes in: one value, in valid
// UTF-8, without duplicate names, within the limits above, and of v's types.
// Members that v does not know are passed over.
func decode(body []byte, v any) error {
	if err := checkShape(body); err != nil {
		return err
	}
	err := json.Unmarshal(body, v)
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		return campaign.Invalid(dotted(e.JSONPointer), "%s", semanticRule(e))
	}
	return syntaxFault(err)
}

// checkShape walks the whole text once, for the syntax and the limits.
func checkShape(body []byte) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(body))
	for first := true; first || d.StackDepth() > 0; first = false {
		if _, err := d.ReadToken(); err != nil {
			return syntaxFault(err)
		}
		if err := checkLimits(d); err != nil {
			return err
		}
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return campaign.Invalid("", "must be one JSON value with nothing behind it")
	}
	return nil
}

func checkLimits(d *jsontext.Decoder) error {
	depth := d.StackDepth()
	if depth > maxDepth {
		return campaign.Invalid(dotted(d.StackPointer()), "must not be nested deeper than %d", maxDepth)
	}
	if depth == 0 {
		return nil
	}
	kind, length := d.StackIndex(depth)
	switch {
	case kind == '{' && length > 2*maxMembers: // names and values
		return campaign.Invalid(dotted(d.StackPointer().Parent()), "must have at most %d members", maxMembers)
	case kind == '[' && length > maxElements:
		return campaign.Invalid(dotted(d.StackPointer().Parent()), "must have at most %d elements", maxElements)
	}
	return nil
}

// syntaxFault says where a text is no JSON.
func syntaxFault(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return campaign.Invalid("", "must be JSON, and ends too early")
	}
	e, ok := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case !ok:
		return campaign.Wrap(campaign.CodeInvalid, err, "the body is no JSON that can be read")
	case errors.Is(e.Err, jsontext.ErrDuplicateName):
		return campaign.Invalid(dotted(e.JSONPointer), "must be there once")
	default:
		return campaign.Invalid(dotted(e.JSONPointer), "must be JSON: %v at octet %d", e.Err, e.ByteOffset)
	}
}

// semanticRule says what a value should have been.
func semanticRule(e *json.SemanticError) string {
	if rule, ok := errors.AsType[ruleError](e.Err); ok {
		return rule.Error()
	}
	kind := reflect.Invalid
	if e.GoType != nil {
		kind = e.GoType.Kind()
	}
	switch kind {
	case reflect.String:
		return "must be a string"
	case reflect.Slice:
		return "must be an array"
	case reflect.Struct:
		return "must be an object"
	default:
		return "must be of another type"
	}
}

// dotted writes a JSON Pointer (RFC 6901) as callers write a path:
// contacts[3].email.
func dotted(p jsontext.Pointer) string {
	var path strings.Builder
	for token := range p.Tokens() {
		switch {
		case token != "" && strings.Trim(token, "0123456789") == "":
			fmt.Fprintf(&path, "[%s]", token)
		case path.Len() > 0:
			path.WriteString("." + token)
		default:
			path.WriteString(token)
		}
		if path.Len() > maxFieldOctets {
			break
		}
	}
	return path.String()
}
