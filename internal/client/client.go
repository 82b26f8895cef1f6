// Package client calls Postern's HTTP API, as the demo and the tests do. It
// knows the API from the outside only and imports nothing of Postern's.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Client calls the API at Base, such as "http://127.0.0.1:8080" or, behind
// API Gateway, "https://host/prod".
type Client struct {
	Base string
	HTTP *http.Client // http.DefaultClient when nil
	// Token goes along with every call; "" for none.
	Token string
}

// Error is an answer outside 2xx.
type Error struct {
	Status int
	Body   []byte
}

// Error gives the status and the body.
func (e *Error) Error() string { return fmt.Sprintf("answered %d: %s", e.Status, e.Body) }

// Contact is a contact as the API takes and gives it: its fields, and email.
type Contact map[string]any

// Attachment is a file that goes with a campaign.
type Attachment struct {
	Filename    string `json:"filename"`
	ContentType string `json:"content_type"`
	Content     []byte `json:"content"` // base64 on the wire
}

// Campaign is a campaign to submit. Members left out come from the service's
// configuration.
type Campaign struct {
	Name        string       `json:"campaign_name,omitempty"`
	From        string       `json:"from_email"`
	Subject     string       `json:"subject"`
	Body        string       `json:"body"`
	Attachments []Attachment `json:"attachments,omitempty"`
	Tags        []string     `json:"tags,omitempty"`
	Recipients  []string     `json:"recipients,omitempty"`
	SendAt      time.Time    `json:"send_at,omitzero"`
	Delivery    string       `json:"delivery,omitempty"` // at_least_once or at_most_once

	Relay
}

// Relay is a relay, or what is to be changed of one.
type Relay struct {
	Server   string `json:"smtp_server,omitempty"`
	Port     int    `json:"smtp_port,omitempty"`
	UseTLS   *bool  `json:"smtp_use_tls,omitempty"`
	Username string `json:"smtp_username,omitempty"`
	Password string `json:"smtp_password,omitempty"`
}

// Status is how far a campaign is.
type Status struct {
	ID         string `json:"campaign_id"`
	Status     string `json:"status"`
	Reason     string `json:"reason"`
	Notice     string `json:"notice"`
	Total      int    `json:"total_contacts"`
	TotalFinal bool   `json:"total_final"`
	Sent       int    `json:"sent_count"`
	Failed     int    `json:"failed_count"`
	Unknown    int    `json:"unknown_count"`
	Suppressed int    `json:"suppressed_count"`
	Pending    int    `json:"pending_count"`
	Delivery   string `json:"delivery"`

	SendAt time.Time `json:"send_at"` // zero for at once
	// ExpiredAt is since when the campaign does not know its recipients any
	// more; zero while it does.
	ExpiredAt time.Time `json:"expired_at"`
}

// Rests says whether the campaign goes on only when it is told to.
func (s Status) Rests() bool {
	switch s.Status {
	case "paused", "completed", "failed", "cancelled":
		return true
	default:
		return false
	}
}

// Delivery is what became of one recipient.
type Delivery struct {
	Email     string    `json:"email"`
	State     string    `json:"state"`
	Attempts  int       `json:"attempts"`
	Reply     string    `json:"reply"`
	MessageID string    `json:"message_id"`
	Digest    string    `json:"digest"` // in hexadecimal; "" unless sent
	UpdatedAt time.Time `json:"updated_at"`
}

// importBatch keeps a request of contacts with many fields below API
// Gateway's 10 MB.
const importBatch = 1000

// Import stores contacts, new or changed.
func (c Client) Import(ctx context.Context, contacts []Contact) error {
	for start := 0; start < len(contacts); start += importBatch {
		batch := contacts[start:min(start+importBatch, len(contacts))]
		if err := c.Call(ctx, http.MethodPost, "contacts", map[string]any{"contacts": batch}, nil); err != nil {
			return err
		}
	}
	return nil
}

// Submit hands a campaign in and gives its id.
func (c Client) Submit(ctx context.Context, in Campaign) (id string, err error) {
	var s Status
	err = c.Call(ctx, http.MethodPost, "smtp-campaign", in, &s)
	return s.ID, err
}

// Status asks how far a campaign is.
func (c Client) Status(ctx context.Context, id string) (s Status, err error) {
	err = c.Call(ctx, http.MethodGet, "campaign-status/"+url.PathEscape(id), nil, &s)
	return s, err
}

// Pause has a campaign mail nobody more until it is resumed.
func (c Client) Pause(ctx context.Context, id string) (Status, error) {
	return c.change(ctx, id, "pause", nil)
}

// Resume has a paused or failed campaign go on, with what r changes of its
// relay.
func (c Client) Resume(ctx context.Context, id string, r Relay) (Status, error) {
	return c.change(ctx, id, "resume", r)
}

// Cancel has a campaign mail nobody more, ever.
func (c Client) Cancel(ctx context.Context, id string) (Status, error) {
	return c.change(ctx, id, "cancel", nil)
}

// Retry sends a completed campaign again to those whose deliveries have one of
// the states; to the failed ones where none is given.
func (c Client) Retry(ctx context.Context, id string, states ...string) (Status, error) {
	return c.change(ctx, id, "retry", map[string]any{"states": states})
}

func (c Client) change(ctx context.Context, id, how string, in any) (s Status, err error) {
	err = c.Call(ctx, http.MethodPost, "campaigns/"+url.PathEscape(id)+"/"+how, in, &s)
	return s, err
}

// Follow polls a campaign until it rests, and shows each answer to watch
// unless that is nil. An error of watch ends it.
func (c Client) Follow(ctx context.Context, id string, watch func(Status) error) (Status, error) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		s, err := c.Status(ctx, id)
		if err == nil && watch != nil {
			err = watch(s)
		}
		if err != nil || s.Rests() {
			return s, err
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-ticker.C:
		}
	}
}

// Deliveries gives all of a campaign's deliveries of a state, "" for all,
// page by page.
func (c Client) Deliveries(ctx context.Context, id, state string) ([]Delivery, error) {
	var all []Delivery
	for cursor := ""; ; {
		q := url.Values{"limit": {"1000"}, "state": {state}, "cursor": {cursor}}
		for name := range q {
			if q.Get(name) == "" {
				q.Del(name)
			}
		}
		var page struct {
			Deliveries []Delivery `json:"deliveries"`
			Next       *string    `json:"next_cursor"`
		}
		path := "campaigns/" + url.PathEscape(id) + "/deliveries?" + q.Encode()
		if err := c.Call(ctx, http.MethodGet, path, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Deliveries...)
		if page.Next == nil || *page.Next == "" {
			return all, nil
		}
		cursor = *page.Next
	}
}

// Call sends in as JSON, unless it is nil, and reads the answer into out,
// unless that is nil. An answer outside 2xx is an *Error.
func (c Client) Call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Base+"/"+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.do(req, out)
}

func (c Client) do(req *http.Request, out any) error {
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	h := c.HTTP
	if h == nil {
		h = http.DefaultClient
	}
	resp, err := h.Do(req) //nolint:gosec // G704: the caller says where the API is
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, &Error{resp.StatusCode, answer})
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}
