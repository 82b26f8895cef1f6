package dynamo

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

func TestThrottlingIsRetried(t *testing.T) {
	t.Parallel()
	p, s, direct := through(t)
	held := chunk(t, direct, 10)
	p.first(2, opUpdate, throttled())
	held = must[store.Lease](t)(s.RenewLease(t.Context(), held))
	p.first(2, opTransact, throttled())
	held = must[store.Lease](t)(s.Checkpoint(t.Context(), held, checkpoint(10, 2)))
	for _, reason := range []string{"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"} {
		p.first(3, opTransact, cancelled(reason))
		held = must[store.Lease](t)(s.Checkpoint(t.Context(), held, checkpoint(10, 0)))
		held = must[store.Lease](t)(s.Checkpoint(t.Context(), held, checkpoint(10, 1)))
		if n := p.count(opTransact); n != 4 {
			t.Fatalf("%d requests for reason %s, want 3 refused and one applied", n, reason)
		}
	}
	p.first(2, opUpdate, fault{code: "TransactionConflictException", message: "busy"})
	must[store.Lease](t)(s.RenewLease(t.Context(), held))
	if totals := must[campaign.Totals](t)(direct.Totals(t.Context(), held.Key.CampaignID)); totals.Sent != 5 {
		t.Fatalf("%d sent, want 5", totals.Sent)
	}
}

// TestThrottledForEver: the store gives up after its own retries, the write
// was not applied.
func TestThrottledForEver(t *testing.T) {
	t.Parallel()
	p, s, direct := through(t)
	held := chunk(t, direct, 10)
	for _, f := range []fault{throttled(), cancelled("TransactionConflict")} {
		p.all(f, opTransact)
		_, err := s.Checkpoint(t.Context(), held, checkpoint(10, 2))
		wantCode(t, err, campaign.CodeUnavailable)
		wantText(t, err, opTransact, direct.work)
	}
	if stored := must[store.Lease](t)(direct.GetLease(t.Context(), held.Key)); stored.Version != held.Version {
		t.Fatalf("version %d after refused writes of version %d", stored.Version, held.Version)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := s.Checkpoint(ctx, held, checkpoint(10, 2))
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 20*time.Second {
		t.Fatalf("after %s: %v", time.Since(begin), err)
	}
}

func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	e, is := errors.AsType[*campaign.Error](err)
	if !is {
		t.Fatalf("error %v (%T)", err, err)
	}
	for _, part := range parts {
		if !strings.Contains(e.Message, part) {
			t.Fatalf("message %q does not have %q", e.Message, part)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	p, s, direct := through(t)
	held := chunk(t, direct, 10)
	p.all(fault{code: "AccessDeniedException", message: "not authorized"}, opGet, opTransact, opScan)
	_, err := s.GetLease(t.Context(), held.Key)
	wantCode(t, err, campaign.CodeUnavailable)
	wantText(t, err, "dynamodb:GetItem", direct.work, "task role", "endpoint")
	_, err = s.Checkpoint(t.Context(), held, checkpoint(10, 2))
	wantCode(t, err, campaign.CodeUnavailable)
	wantText(t, err, "PutItem", "UpdateItem", direct.work)
	_, _, err = s.ListContacts(t.Context(), "", 1)
	wantText(t, err, "dynamodb:Scan", direct.contacts)

	p.all(fault{code: "ResourceNotFoundException", message: "not found"}, opGet)
	_, err = s.GetLease(t.Context(), held.Key)
	wantCode(t, err, campaign.CodeUnavailable)
	wantText(t, err, direct.work, "terraform apply")

	p.all(fault{code: "ExpiredTokenException", message: "expired"}, opGet)
	_, err = s.GetLease(t.Context(), held.Key)
	wantCode(t, err, campaign.CodeUnavailable)
	wantText(t, err, "credentials")

	p.all(cancelled("ValidationError"), opTransact)
	_, err = s.Checkpoint(t.Context(), held, checkpoint(10, 2))
	wantCode(t, err, campaign.CodeInternal)
	p.all(fault{code: "ValidationException", message: "nonsense"}, opUpdate)
	_, err = s.RenewLease(t.Context(), held)
	wantCode(t, err, campaign.CodeInternal)
	if !strings.Contains(err.Error(), "nonsense") {
		t.Fatalf("error %v lost its cause", err)
	}
}

// closedAddress is where nobody listens: a port that was free a moment ago may
// be another test's by now.
const closedAddress = "http://127.0.0.1:1"

// away makes a store without looking whether its tables are there.
func away(t *testing.T, endpoint string) *Store {
	t.Helper()
	client, closeIdle, err := newClient(t.Context(), Config{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeIdle)
	return &Store{db: client, now: time.Now, work: "EmailWork", contacts: "EmailContacts", due: newDueCursors()}
}

func TestStoreDown(t *testing.T) {
	t.Parallel()
	s := away(t, closedAddress)
	begin := time.Now()
	_, err := s.GetLease(t.Context(), store.LeaseKey{CampaignID: "c"})
	wantCode(t, err, campaign.CodeUnavailable)
	wantText(t, err, opGet, "EmailWork")
	if took := time.Since(begin); took > 30*time.Second {
		t.Fatalf("it took %s to see that nobody listens", took)
	}
	_, err = Open(t.Context(), Config{Endpoint: closedAddress})
	wantCode(t, err, campaign.CodeUnavailable)
}

// TestStoreHangs: a server that takes requests and answers none is bounded by
// the context.
func TestStoreHangs(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	s := away(t, server.URL)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	err := s.UpsertContacts(ctx, []campaign.ContactChange{{Address: "a@example.org"}}, time.Now())
	wantCode(t, err, campaign.CodeUnavailable)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 20*time.Second {
		t.Fatalf("after %s: %v", time.Since(begin), err)
	}
	wantText(t, err, opUpdate, "EmailContacts")
}

// TestUnprocessedKeys answers with half of a batch until it is read.
func TestUnprocessedKeys(t *testing.T) {
	t.Parallel()
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls++
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		answer := `{"Responses":{"EmailContacts":[{"email":{"S":"a@example.org"}}]},
			"UnprocessedKeys":{"EmailContacts":{"Keys":[{"email":{"S":"b@example.org"}}]}}}`
		if calls == 2 {
			answer = `{"Responses":{},"UnprocessedKeys":{"EmailContacts":{"Keys":[{"email":{"S":"b@example.org"}}]}}}`
		}
		if calls == 3 {
			answer = `{"Responses":{"EmailContacts":[{"email":{"S":"b@example.org"}}]}}`
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(server.Close)
	got := must[[]campaign.Contact](t)(away(t, server.URL).GetContacts(t.Context(), []string{"a@example.org", "b@example.org"}))
	if len(got) != 2 || got[0].Address != "a@example.org" || got[1].Address != "b@example.org" || calls != 3 {
		t.Fatalf("%d calls gave %+v", calls, got)
	}
}
