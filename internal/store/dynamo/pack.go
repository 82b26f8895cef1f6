package dynamo

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
)

// pack gives a value's stored form: JSON, deflated. What is packed repeats
// itself (addresses of few domains, the same reply for each deferred
// recipient), and DynamoDB charges by the kilobyte.
func pack(v any) ([]byte, error) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("dynamo: packing: %w", err)
	}
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return nil, fmt.Errorf("dynamo: packing: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("dynamo: packing: %w", err)
	}
	return out.Bytes(), nil
}

// unpack reads what pack made; nothing leaves v as it is.
func unpack(packed []byte, v any) error {
	if len(packed) == 0 {
		return nil
	}
	raw, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed)))
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil {
		return fmt.Errorf("dynamo: damaged item: %w", err)
	}
	return nil
}
