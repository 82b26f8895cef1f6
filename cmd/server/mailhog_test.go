package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jhillyerd/enmime/v2"
)

// mailhog is MailHog's HTTP API.
type mailhog struct{ base string }

type mailhogPage struct {
	Total int `json:"total"`
	Items []struct {
		Raw struct {
			To   []string `json:"To"`
			Data string   `json:"Data"`
		} `json:"Raw"`
	} `json:"items"`
}

func (m mailhog) page(ctx context.Context, t *testing.T, start, limit int) (page mailhogPage) {
	t.Helper()
	url := fmt.Sprintf("%s/api/v2/messages?start=%d&limit=%d", m.base, start, limit)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(&page); err != nil {
		t.Fatalf("%s answered %s: %v", url, response.Status, err)
	}
	return page
}

// messages gives all messages by recipient, as a MIME parser that is not ours
// reads them.
func (m mailhog) messages(ctx context.Context, t *testing.T) map[string][]*enmime.Envelope {
	t.Helper()
	const limit = 250 // MailHog gives no more at once
	all := map[string][]*enmime.Envelope{}
	for start := 0; ; start += limit {
		page := m.page(ctx, t, start, limit)
		for _, item := range page.Items {
			envelope, err := enmime.ReadEnvelope(strings.NewReader(item.Raw.Data))
			if err != nil || len(envelope.Errors) != 0 || len(item.Raw.To) != 1 {
				t.Fatalf("message to %v: %v, %v", item.Raw.To, err, envelope)
			}
			all[item.Raw.To[0]] = append(all[item.Raw.To[0]], envelope)
		}
		if start+limit >= page.Total {
			return all
		}
	}
}

// awaitMessages waits until MailHog has n messages.
func (m mailhog) awaitMessages(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for total := 0; total < n; total = m.page(ctx, t, 0, 1).Total {
		select {
		case <-ctx.Done():
			t.Fatalf("%d messages of %d: %v", total, n, ctx.Err())
		case <-tick.C:
		}
	}
}
