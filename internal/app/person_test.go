package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"postern/internal/client"
	"postern/internal/mailer/smtptest"
)

// eve is the person whom the tests erase. Her reply names her, too.
const eve = "Eve.Canary@example.org"

// refuseEve refuses one recipient by name.
func refuseEve(event smtptest.Event) smtptest.Action {
	if event.Stage == smtptest.StageRcpt && strings.Contains(event.Command, eve) {
		return smtptest.Reply("550 5.1.1 <" + eve + ">: no such user")
	}
	return smtptest.Action{}
}

// withPeople is the service with a relay, and eve among some contacts.
func withPeople(t *testing.T, b backend, envs ...map[string]string) (*service, *smtptest.Server) {
	t.Helper()
	relay := startRelay(t, relayConfig())
	s := start(t, append([]map[string]string{b.env(t), relayEnv(t, relay)}, envs...)...)
	s.importContacts(t, append(addresses(40), client.Contact{"email": eve, "first_name": "Evelyn-Canary"}))
	return s, relay
}

// TestPerson exports and erases a person whom three campaigns know: as one who
// was sent to, as one whom the relay refused, and as one who was named.
func TestPerson(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			s, relay := withPeople(t, b)
			letter := simpleLetter()
			sent := s.complete(t, letter)
			relay.SetHook(refuseEve)
			refused := s.complete(t, letter)
			letter.Recipients = []string{eve, "r0@example.org"}
			named := s.complete(t, letter)

			var found struct {
				Contact    map[string]any
				Deliveries []struct {
					CampaignID string `json:"campaign_id"`
					State      string
					Reply      string
					Values     map[string]string
				}
				Complete bool
			}
			s.person(t, http.MethodGet, &found)
			if len(found.Deliveries) != 3 || !found.Complete || found.Contact["email"] != eve {
				t.Fatalf("the export is %+v", found)
			}
			for i, want := range []struct{ id, state string }{{named, "failed"}, {refused, "failed"}, {sent, "sent"}} {
				d := found.Deliveries[i]
				if d.CampaignID != want.id || d.State != want.state || d.Values["first_name"] != "Evelyn-Canary" {
					t.Errorf("delivery %d is %+v, want %+v", i, d, want)
				}
			}

			var erased struct {
				ContactDeleted   bool `json:"contact_deleted"`
				RecipientsErased int  `json:"recipients_erased"`
				Complete         bool
			}
			s.person(t, http.MethodDelete, &erased)
			if !erased.ContactDeleted || erased.RecipientsErased != 3 || !erased.Complete {
				t.Errorf("the erasing said %+v", erased)
			}
			s.person(t, http.MethodDelete, &erased)
			if erased.ContactDeleted || erased.RecipientsErased != 0 || !erased.Complete {
				t.Errorf("the second erasing said %+v", erased)
			}
			for _, id := range []string{sent, refused, named} {
				if report := s.audited(t, id, 1); !report.Proven() || report.Unchecked == 0 {
					t.Errorf("the audit trail of what she was erased from: %+v", report)
				}
				s.namesNobody(t, "campaigns/"+id+"/deliveries")
				s.namesNobody(t, "campaign-status/"+id)
			}
			s.namesNobody(t, "contacts")
			if strings.Contains(strings.ToLower(s.log.String()), "canary") {
				t.Errorf("the log names her: %s", s.log)
			}

			// Whoever is retried, she is not.
			relay.SetHook(nil)
			before := relay.Count()
			if _, err := s.Retry(t.Context(), refused, "failed"); err != nil {
				t.Fatal(err)
			}
			st := s.watch(t, refused, func(st client.Status) bool { return st.Status == "completed" })
			if relay.Count() != before || st.Suppressed != 1 || st.Sent != 40 || st.Failed != 0 {
				t.Errorf("the retry sent %d and ended as %+v", relay.Count()-before, st)
			}
		})
	}
}

// TestPersonOfEveryAddress: the route erases whom it names and nobody else,
// however the caller has encoded the address, a slash in it included.
func TestPersonOfEveryAddress(t *testing.T) {
	t.Parallel()
	s := start(t, embedded(t))
	for path, want := range map[string]string{
		"a%2541@example.org": "a%41@example.org", "a%41%40example.org": "aa@example.org", "100%25@example.org": "100%@example.org",
		"a+b%40example.org": "a+b@example.org", "a%2Bb@example.org": "a+b@example.org",
		"a%2Fb@example.org": "a/b@example.org", "a%2fb%40example.org": "a/b@example.org", "a%2F%252fb@example.org": "a/%2fb@example.org",
	} {
		s.importContacts(t, []client.Contact{
			{"email": "a%41@example.org"}, {"email": "aa@example.org"}, {"email": "100%@example.org"},
			{"email": "a+b@example.org"}, {"email": "a/b@example.org"}, {"email": "a/%2fb@example.org"},
		})
		var erased struct {
			ContactDeleted bool `json:"contact_deleted"`
		}
		if err := s.Call(t.Context(), http.MethodDelete, "contacts/"+path+"/data", nil, &erased); err != nil || !erased.ContactDeleted {
			t.Errorf("%s: %+v, %v", path, erased, err)
		}
		var left struct{ Contacts []struct{ Email string } }
		if err := s.Call(t.Context(), http.MethodGet, "contacts?limit=100", nil, &left); err != nil {
			t.Fatal(err)
		}
		if len(left.Contacts) != 5 || slices.ContainsFunc(left.Contacts, func(c struct{ Email string }) bool { return c.Email == want }) {
			t.Errorf("%s: %+v are left; want all but %s", path, left.Contacts, want)
		}
	}
}

// TestPersonRemains: a campaign at work on a person is left for a later call.
func TestPersonRemains(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			s, _ := withPeople(t, b, map[string]string{"RELAY_RATE": "2", "RELAY_MAX_CONNECTIONS": "1"})
			id := s.submit(t, simpleLetter())
			s.watch(t, id, func(st client.Status) bool { return st.TotalFinal && st.Sent > 0 })
			var erased struct {
				Remaining []string
				Complete  bool
			}
			s.person(t, http.MethodDelete, &erased)
			if len(erased.Remaining) != 1 || erased.Remaining[0] != id || erased.Complete {
				t.Fatalf("the erasing said %+v", erased)
			}
			if _, err := s.Cancel(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for !erased.Complete {
				if ctx.Err() != nil {
					t.Fatalf("it never became complete: %+v", erased)
				}
				s.person(t, http.MethodDelete, &erased)
			}
			s.namesNobody(t, "campaigns/"+id+"/deliveries")
		})
	}
}

// TestRetention: a campaign that ended long ago knows its totals and nobody.
func TestRetention(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			env := b.env(t)
			same := backend{b.name, func(*testing.T) map[string]string { return env }}
			s, relay := withPeople(t, same)
			id := s.complete(t, simpleLetter())
			if err := s.stop(); err != nil {
				t.Fatal(err)
			}
			s = start(t, env, relayEnv(t, relay), map[string]string{"DELIVERY_RETENTION": "1ms"})
			s.watch(t, id, func(st client.Status) bool { return !st.ExpiredAt.IsZero() && st.Sent == 41 && st.Total == 41 })
			s.namesNobody(t, "campaigns/"+id+"/deliveries")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			report := s.audited(t, id, 1)
			for ; report.Rows > 0; report = s.audited(t, id, 1) { // its chunks go one by one behind the mark
				if ctx.Err() != nil {
					t.Fatalf("the campaign never forgot its recipients: %+v", report)
				}
			}
			if !report.Proven() {
				t.Errorf("the audit trail of a campaign that knows nobody: %+v", report)
			}
			if bytes.Contains(bytes.ToLower(s.export(t, id)), []byte("canary")) {
				t.Error("the audit trail of a campaign that has forgotten its recipients names her")
			}
			if _, err := s.Retry(t.Context(), id, "failed"); err == nil || !strings.Contains(err.Error(), "forgotten") {
				t.Errorf("a retry of it: %v", err)
			}
		})
	}
}

// person calls the person's route and reads the answer.
func (s *service) person(t *testing.T, method string, into any) {
	t.Helper()
	if err := s.Call(t.Context(), method, "contacts/"+strings.ToLower(eve)+"/data", nil, into); err != nil {
		t.Fatal(err)
	}
}

// namesNobody holds that an answer does not have eve in it.
func (s *service) namesNobody(t *testing.T, path string) {
	t.Helper()
	var answer json.RawMessage
	if err := s.Call(t.Context(), http.MethodGet, path, nil, &answer); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(bytes.ToLower(answer), []byte("canary")) {
		t.Errorf("%s still names her: %s", path, answer)
	}
}

// complete submits a campaign and waits until it is completed.
func (s *service) complete(t *testing.T, letter client.Campaign) string {
	t.Helper()
	id := s.submit(t, letter)
	s.watch(t, id, func(st client.Status) bool { return st.Status == "completed" })
	return id
}
