package app_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/client"
	"postern/internal/mailer/smtptest"
)

// slowly keeps a campaign in progress for long enough to change its course.
var slowly = map[string]string{"RELAY_RATE": "200", "RELAY_MAX_CONNECTIONS": "4"}

// envelopes notes when each MAIL came.
type envelopes struct {
	mu sync.Mutex
	at []time.Time
}

func (e *envelopes) hook(event smtptest.Event) smtptest.Action {
	if event.Stage == smtptest.StageMail {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.at = append(e.at, time.Now())
	}
	return smtptest.Action{}
}

// between counts what came behind one moment and before another.
func (e *envelopes) between(from, to time.Time) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, at := range e.at {
		if at.After(from) && at.Before(to) {
			n++
		}
	}
	return n
}

// stopIn stops a campaign of n recipients in the middle, by the call, and
// holds that what was in flight is recorded, that the status stays, and that
// no envelope leaves later than a second behind the answer. Where this machine,
// or its store, is too busy to answer for some time, the service may take as
// much longer: a stop is two reads of the store away from who sends.
func stopIn(
	t *testing.T, s *service, relay *smtptest.Server, id string, stop func(context.Context, string) (client.Status, error),
) client.Status {
	t.Helper()
	sent := &envelopes{}
	relay.SetHook(sent.hook)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := relay.Wait(ctx, 100); err != nil {
		t.Fatal(err)
	}
	answer, err := stop(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	answered := time.Now()
	asked, slowest := answered, time.Duration(0)
	within := func() time.Duration { return time.Second + 3*slowest }
	last := s.watch(t, id, func(st client.Status) bool {
		slowest, asked = max(slowest, time.Since(asked)-watchEvery), time.Now()
		if st.Status != answer.Status {
			t.Errorf("it was %s and is %s", answer.Status, st.Status)
		}
		return time.Since(answered) > within()+1500*time.Millisecond && st.Sent == relay.Count()
	})
	if late := sent.between(answered.Add(within()), time.Now()); late > 0 {
		t.Errorf("%d envelopes left later than %s behind the answer", late, within())
	}
	if last.Sent < 100 || last.Pending == 0 || last.Failed+last.Unknown > 0 {
		t.Errorf("it rests as %+v", last)
	}
	return last
}

// watchEvery is how often watch asks.
const watchEvery = 50 * time.Millisecond

// watch polls a campaign until it is as wanted.
func (s *service) watch(t *testing.T, id string, wanted func(client.Status) bool) client.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		st, err := s.Status(t.Context(), id)
		if err != nil {
			t.Fatalf("asking for the campaign: %v", err)
		}
		if wanted(st) {
			return st
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("the campaign does not become what is awaited: %+v", st)
		}
	}
}

// onceEach holds that each of the first n people was mailed exactly once.
func onceEach(t *testing.T, relay *smtptest.Server, n int) {
	t.Helper()
	counts := relay.PerRecipient()
	for address, times := range counts {
		if times != 1 {
			t.Errorf("%s was mailed %d times", address, times)
		}
	}
	if len(counts) != n {
		t.Errorf("%d people were mailed of %d", len(counts), n)
	}
}

// refused holds that a call answers 409 with a text that has the word.
func refused(t *testing.T, err error, word string) {
	t.Helper()
	e, ok := errors.AsType[*client.Error](err)
	if !ok || e.Status != http.StatusConflict || !strings.Contains(string(e.Body), word) {
		t.Errorf("answer %v; want 409 with %q", err, word)
	}
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		const n = 1200
		relay := startRelay(t, relayConfig())
		s := start(t, env, relayEnv(t, relay), slowly)
		s.importContacts(t, addresses(n))
		id := s.submit(t, simpleLetter())
		paused := stopIn(t, s, relay, id, s.Pause)
		if paused.Status != "paused" {
			t.Fatalf("it is %+v", paused)
		}
		_, err := s.Retry(t.Context(), id, "failed")
		refused(t, err, "only one that is completed can be retried")
		if _, err := s.Resume(t.Context(), id, client.Relay{}); err != nil {
			t.Fatal(err)
		}
		final := s.follow(t, id, relay)
		if final.Status != "completed" || final.Sent != n {
			t.Errorf("ended as %+v", final)
		}
		onceEach(t, relay, n)
		_, err = s.Pause(t.Context(), id)
		refused(t, err, "completed")
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		const n = 1200
		relay := startRelay(t, relayConfig())
		s := start(t, env, relayEnv(t, relay), slowly)
		s.importContacts(t, addresses(n))
		id := s.submit(t, simpleLetter())
		cancelled := stopIn(t, s, relay, id, s.Cancel)
		if cancelled.Status != "cancelled" {
			t.Fatalf("it is %+v", cancelled)
		}
		_, err := s.Resume(t.Context(), id, client.Relay{})
		refused(t, err, "cancelled")
		_, err = s.Pause(t.Context(), id)
		refused(t, err, "cancelled")
		_, err = s.Retry(t.Context(), id, "failed")
		refused(t, err, "cancelled")
		onceEach(t, relay, cancelled.Sent)
		pending, err := s.Deliveries(t.Context(), id, "pending")
		if err != nil || len(pending) != cancelled.Pending {
			t.Errorf("%d deliveries are pending, %v; want %d", len(pending), err, cancelled.Pending)
		}
	})
}

// TestResumeWithNewPassword: a campaign whose credentials are refused pauses,
// and goes on with new ones; what a caller does not name stays as it was.
func TestResumeWithNewPassword(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		relay := startRelay(t, relayConfig())
		s := start(t, env, relayEnv(t, relay), map[string]string{"SMTP_PASSWORD": "outdated"})
		s.importContacts(t, addresses(20))
		byDefault, own := simpleLetter(), simpleLetter()
		own.Relay = client.Relay{Server: relay.Host(), Port: relay.Port(), Username: "postern", Password: "outdated too"}
		for what, letter := range map[string]client.Campaign{"the default relay": byDefault, "a relay of its own": own} {
			before := relay.Count()
			id := s.submit(t, letter)
			if st := s.follow(t, id, relay); st.Status != "paused" || !strings.Contains(st.Reason, "535") {
				t.Fatalf("%s: rests as %+v", what, st)
			}
			resumed, err := s.Resume(t.Context(), id, client.Relay{Password: "correct horse"})
			if err != nil || resumed.Reason != "" {
				t.Fatalf("%s: resumed as %+v, %v", what, resumed, err)
			}
			final := s.follow(t, id, relay)
			if final.Status != "completed" || final.Sent != 20 || relay.Count() != before+20 {
				t.Errorf("%s: ended as %+v", what, final)
			}
		}
		if n := relay.Stats().AuthFailures; n != 2 {
			t.Errorf("%d tries with wrong passwords; two were expected", n)
		}
		if strings.Contains(s.log.String(), "correct horse") || strings.Contains(s.log.String(), "outdated") {
			t.Error("a password is in the log")
		}
	})
}

// TestResumeOverAnotherRelay: who resumes may name another relay, under the
// same rules as who submits.
func TestResumeOverAnotherRelay(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		relay := startRelay(t, relayConfig())
		rules, gone := relayEnv(t, relay), strconv.Itoa(vacantPort(t))
		rules["SMTP_PORT"] = gone
		rules["RELAY_PORTS"] += "," + gone
		s := start(t, env, rules, map[string]string{"RETRY_MIN": "10ms", "RETRY_MAX": "20ms", "RETRY_FOR": "300ms"})
		s.importContacts(t, addresses(5))
		id := s.submit(t, simpleLetter())
		if st := s.follow(t, id, relay); st.Status != "paused" || st.Pending != 5 || !strings.Contains(st.Reason, "refuse") {
			t.Fatalf("with a relay that stays away: %+v", st)
		}
		for _, tt := range []struct {
			relay client.Relay
			field string
		}{
			{client.Relay{Server: "10.1.2.3", Password: "p"}, "smtp_server"},
			{client.Relay{Port: 25}, "port 25"},
		} {
			_, err := s.Resume(t.Context(), id, tt.relay)
			if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != http.StatusBadRequest || !strings.Contains(string(e.Body), tt.field) {
				t.Errorf("over %+v: %v; want 400 naming %s", tt.relay, err, tt.field)
			}
		}
		other := client.Relay{Server: relay.Host(), Port: relay.Port(), Username: "postern", Password: "correct horse"}
		if _, err := s.Resume(t.Context(), id, other); err != nil {
			t.Fatal(err)
		}
		if final := s.follow(t, id, relay); final.Status != "completed" || final.Sent != 5 {
			t.Errorf("ended as %+v", final)
		}
	})
}

// cutOff loses the relay's reply for one recipient, once.
func cutOff(address string) smtptest.Hook {
	return smtptest.Times(1, func(e smtptest.Event) smtptest.Action {
		if e.Stage != smtptest.StageAccepted || e.Rcpt() != address {
			return smtptest.Action{}
		}
		return smtptest.Close()
	})
}

// messageIDs gives the Message-IDs of what was taken for an address.
func messageIDs(relay *smtptest.Server, address string) (ids []string) {
	for _, m := range relay.Messages() {
		if m.To[0] != address {
			continue
		}
		for line := range strings.SplitSeq(string(m.Data), "\r\n") {
			if id, found := strings.CutPrefix(line, "Message-ID: "); found {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// TestLostReply loses the reply to a message that the relay has taken. At
// most once leaves the recipient unknown, until somebody asks for a retry of
// the unknown, and of nobody else. At least once sends it again.
func TestLostReply(t *testing.T) {
	t.Parallel()
	const lost, bad, n = "r3@example.org", "r5@example.org", 20
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		relay := startRelay(t, relayConfig())
		s := start(t, env, relayEnv(t, relay), quickRetries, map[string]string{"RELAY_MAX_CONNECTIONS": "4"})
		s.importContacts(t, addresses(n))
		relay.SetHook(smtptest.Chain(cutOff(lost), smtptest.Times(1, smtptest.RefuseRecipient(bad))))
		letter := simpleLetter()
		letter.Delivery = "at_most_once"
		id := s.submit(t, letter)
		final := s.follow(t, id, relay)
		if final.Status != "completed" || final.Sent != n-2 || final.Unknown != 1 || final.Failed != 1 || final.Delivery != "at_most_once" {
			t.Fatalf("ended as %+v", final)
		}
		if d := s.deliveries(t, id)[lost]; d.State != "unknown" || relay.CountTo(lost) != 1 {
			t.Errorf("mailed %d times: %+v", relay.CountTo(lost), d)
		}

		if _, err := s.Retry(t.Context(), id, "unknown"); err != nil {
			t.Fatal(err)
		}
		final = s.follow(t, id, relay)
		if final.Status != "completed" || final.Sent != n-1 || final.Unknown != 0 || final.Failed != 1 {
			t.Errorf("behind the retry of the unknown: %+v", final)
		}
		if ids := messageIDs(relay, lost); len(ids) != 2 || ids[0] != ids[1] {
			t.Errorf("the two messages have the Message-IDs %v", ids)
		}
		if _, err := s.Retry(t.Context(), id, "failed", "unknown"); err != nil {
			t.Fatal(err)
		}
		final = s.follow(t, id, relay)
		if final.Status != "completed" || final.Sent != n || relay.CountTo(bad) != 1 || relay.Count() != n+1 {
			t.Errorf("behind the retry of the failed: %+v with %d messages", final, relay.Count())
		}
		for _, c := range s.countedContacts(t) {
			if c["email_count"] != 1.0 {
				t.Errorf("%v is counted as reached by %v campaigns", c["email"], c["email_count"])
			}
		}
	})
}

func TestLostReplyAtLeastOnce(t *testing.T) {
	t.Parallel()
	const lost, n = "r3@example.org", 20
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		relay := startRelay(t, relayConfig())
		relay.SetHook(cutOff(lost))
		s := start(t, env, relayEnv(t, relay), quickRetries)
		s.importContacts(t, addresses(n))
		final := s.follow(t, s.submit(t, simpleLetter()), relay)
		if final.Status != "completed" || final.Sent != n || final.Delivery != "at_least_once" {
			t.Errorf("ended as %+v", final)
		}
		if ids := messageIDs(relay, lost); len(ids) != 2 || ids[0] != ids[1] || relay.Count() != n+1 {
			t.Errorf("%d messages; those of the lost reply have the Message-IDs %v", relay.Count(), ids)
		}
	})
}

// TestRefusedCourse: what the engine does not take is answered by the field's
// name, and nothing is mailed for it.
func TestRefusedCourse(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, relayConfig())
	s := start(t, embedded(t), relayEnv(t, relay))
	wrong := func(err error, field string) {
		t.Helper()
		e, ok := errors.AsType[*client.Error](err)
		if !ok || e.Status != http.StatusBadRequest || !strings.Contains(string(e.Body), `"field":"`+field+`"`) {
			t.Errorf("answer %v; want 400 naming %s", err, field)
		}
	}
	past, far, exactly := simpleLetter(), simpleLetter(), simpleLetter()
	past.SendAt, far.SendAt, exactly.Delivery = time.Now().Add(-time.Minute), time.Now().AddDate(2, 0, 0), "exactly_once"
	for field, letters := range map[string][]client.Campaign{"send_at": {past, far}, "delivery": {exactly}} {
		for _, letter := range letters {
			_, err := s.Submit(t.Context(), letter)
			wrong(err, field)
		}
	}
	id := s.submit(t, simpleLetter())
	s.follow(t, id, relay)
	_, err := s.Retry(t.Context(), id, "failed", "sent")
	wrong(err, "states")
	for _, call := range []func(context.Context, string) (client.Status, error){s.Pause, s.Cancel} {
		_, err := call(t.Context(), "none")
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != http.StatusNotFound {
			t.Errorf("a campaign that is not there: %v", err)
		}
	}
	if relay.Count() > 0 {
		t.Errorf("%d messages were sent", relay.Count())
	}
}
