package api

import (
	"bytes"
	"encoding/base64"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"postern/internal/engine"
)

// The types below read what existing clients send in more than one form. null
// and "" count as not given.

// number is a whole number, or a string that holds one.
type number int

// UnmarshalJSONFrom reads 587 and "587".
func (n *number) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	const rule = ruleError("must be a whole number")
	s, err := scalar(d, rule)
	if err != nil || s == "" {
		return err
	}
	parsed, err := strconv.Atoi(s)
	if err != nil {
		return rule
	}
	*n = number(parsed)
	return nil
}

// flag is a boolean, or a string that holds one. The zero value is not given.
type flag struct{ value *bool }

// UnmarshalJSONFrom reads true, "true" and what else strconv.ParseBool knows.
func (f *flag) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	const rule = ruleError("must be true or false")
	s, err := scalar(d, rule)
	if err != nil || s == "" {
		return err
	}
	parsed, err := strconv.ParseBool(s)
	if err != nil {
		return rule
	}
	f.value = &parsed
	return nil
}

// scalar reads a string, a number or a boolean as text; "" for null.
func scalar(d *jsontext.Decoder, otherwise ruleError) (string, error) {
	value, err := d.ReadValue()
	if err != nil {
		return "", err
	}
	s, isScalar := text(value)
	if !isScalar {
		return "", otherwise
	}
	return s, nil
}

// text gives the text of a string, a number as it is written, a boolean, or
// "" for null; false for an object or an array.
func text(value jsontext.Value) (string, bool) {
	switch value.Kind() {
	case '"':
		unquoted, err := jsontext.AppendUnquote(nil, value)
		return string(unquoted), err == nil
	case '0', 't', 'f':
		return string(value), true
	case 'n':
		return "", true
	default:
		return "", false
	}
}

// content is a file in base64 (RFC 4648 section 4). Line breaks in it are
// passed over, and so is the "data:...;base64," that browsers'
// FileReader.readAsDataURL puts in front.
type content []byte

// UnmarshalJSONFrom decodes without a copy of the text where it has no
// escapes.
func (c *content) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	value, err := d.ReadValue()
	if err != nil {
		return err
	}
	if value.Kind() == 'n' {
		return nil
	}
	if value.Kind() != '"' {
		return ruleError("must be a string")
	}
	encoded := []byte(value[1 : len(value)-1])
	if bytes.IndexByte(encoded, '\\') >= 0 {
		if encoded, err = jsontext.AppendUnquote(nil, value); err != nil {
			return err
		}
	}
	encoded = cutDataURL(encoded)
	size := base64.StdEncoding.DecodedLen(len(encoded))
	decoded := make([]byte, size, size+engine.FileRoom)
	n, err := base64.StdEncoding.Decode(decoded, encoded)
	if err != nil {
		return ruleError("must be base64 (RFC 4648 section 4)")
	}
	*c = decoded[:n]
	return nil
}

func cutDataURL(encoded []byte) []byte {
	if !bytes.HasPrefix(encoded, []byte("data:")) {
		return encoded
	}
	// No comma is in base64: the first one ends the URL's own part.
	head, rest, _ := bytes.Cut(encoded, []byte(","))
	if !bytes.HasSuffix(head, []byte(";base64")) {
		return encoded
	}
	return rest
}
