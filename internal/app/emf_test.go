package app

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// TestReportBacklog: a line a minute, in the embedded metric format, however
// quiet the log is.
func TestReportBacklog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
		defer cancel()
		backlog := 0.0
		began := time.Now()
		reportBacklog(ctx, zerolog.New(&out).Level(zerolog.ErrorLevel), "my-postern", func() float64 {
			backlog += 12.5
			return backlog
		})
		decoder := json.NewDecoder(&out)
		for n := 1; n <= 2; n++ {
			var line struct {
				AWS     map[string]any `json:"_aws"`
				Backlog float64
			}
			if err := decoder.Decode(&line); err != nil {
				t.Fatalf("line %d: %v", n, err)
			}
			want := map[string]any{
				"Timestamp": float64(began.Add(time.Duration(n) * time.Minute).UnixMilli()),
				"CloudWatchMetrics": []any{map[string]any{
					"Namespace": "my-postern", "Dimensions": []any{[]any{}},
					"Metrics": []any{map[string]any{"Name": "Backlog", "Unit": "Count"}},
				}},
			}
			if !reflect.DeepEqual(line.AWS, want) || line.Backlog != 12.5*float64(n) {
				t.Errorf("line %d: %+v; want %+v and %v", n, line, want, 12.5*float64(n))
			}
		}
		if decoder.More() {
			t.Error("more than a line a minute")
		}
	})
}
