package config

import (
	"fmt"
	"io"
)

const redacted = "[redacted]"

// Secret is a value that prints as "[redacted]" however it is printed, logged
// or marshalled. The zero value is an empty secret.
type Secret struct {
	// A pointer, because fmt calls no methods of values that it finds in
	// unexported fields, and prints a pointer there as its address.
	value *string
}

// NewSecret keeps value.
func NewSecret(value string) Secret { return Secret{value: &value} }

// Reveal gives the value itself. It is the only way to it.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero says whether there is nothing to reveal.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// String gives "[redacted]".
func (s Secret) String() string { return redacted }

// GoString gives "[redacted]", for %#v.
func (s Secret) GoString() string { return redacted }

// Format writes "[redacted]" for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText gives "[redacted]", for JSON, YAML, XML and log/slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON gives "[redacted]" as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
