package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"unicode/utf8"

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
	// maxValues of all kinds: one that takes two octets in the text takes many
	// times as much when it is decoded.
	maxValues = 300000
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

// readOptionalJSON is readJSON for calls that need no body: without one, v
// stays as it is.
func readOptionalJSON(r *http.Request, v any) error {
	body, err := readBody(r)
	if err != nil || len(body) == 0 {
		return err
	}
	return decode(body, v)
}

// decode is the one door through which JSON comes in: one value, in valid
// UTF-8, without duplicate names, within the limits above, and of v's types.
// Members that v does not know are passed over.
func decode(body []byte, v any) error {
	if err := checkShape(body); err != nil {
		return err
	}
	err := unmarshal(body, v)
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		return campaign.Invalid(dotted(e.JSONPointer), "%s", semanticRule(e))
	}
	if err != nil { // checkShape lets nothing through that comes to this
		return campaign.Invalid("", "must be JSON that can be read")
	}
	return nil
}

// unmarshal decodes a text that has been through checkShape, or a part of one.
// It does not look for duplicate names again, which would cost more than all
// the rest.
func unmarshal(text []byte, v any) error {
	return json.Unmarshal(text, v, jsontext.AllowDuplicateNames(true))
}

// checkShape walks the whole text once, for the syntax and the limits.
func checkShape(body []byte) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(body))
	for tokens := 0; tokens == 0 || d.StackDepth() > 0; tokens++ {
		if _, err := d.ReadToken(); err != nil {
			return syntaxFault(d, body, err)
		}
		if err := checkLimits(d); err != nil {
			return err
		}
		if tokens > 2*maxValues { // names and values, ends of objects and arrays
			return campaign.Invalid("", "must have at most %d values in all", maxValues)
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

// syntaxFault says where a text is no JSON, and never what stands there: it may
// be part of a password. The library's own words quote it.
func syntaxFault(d *jsontext.Decoder, body []byte, err error) error {
	e, ok := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case !ok || errors.Is(err, io.ErrUnexpectedEOF):
		return campaign.Invalid("", "must be JSON, and ends too early")
	case errors.Is(err, jsontext.ErrDuplicateName):
		return campaign.Invalid(dotted(e.JSONPointer), "must be there once")
	}
	path := e.JSONPointer
	between := body[d.InputOffset():e.ByteOffset]
	if kind, length := d.StackIndex(d.StackDepth()); kind == '{' && length%2 == 1 && !bytes.Contains(between, []byte(":")) {
		path = path.Parent() // what stands in the place of a name may be a value
	}
	before := body[:e.ByteOffset]
	line := before[bytes.LastIndexByte(before, '\n')+1:]
	return campaign.Invalid(dotted(path), "must be JSON: %s at octet %d (line %d, column %d)",
		syntaxRule(body[e.ByteOffset:]), e.ByteOffset, bytes.Count(before, []byte("\n"))+1, utf8.RuneCount(line)+1)
}

// syntaxRule says what is wrong at the beginning of a text.
func syntaxRule(rest []byte) string {
	r, size := utf8.DecodeRune(rest)
	switch {
	case r == utf8.RuneError && size == 1:
		return "invalid UTF-8"
	case r == '\\':
		return "an invalid escape sequence"
	case r < ' ':
		return "a control character"
	default:
		return "a syntax error"
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
