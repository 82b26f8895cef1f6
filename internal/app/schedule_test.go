package app_test

import (
	"strings"
	"testing"
	"time"

	"postern/internal/client"
)

// ahead is how far schedules of these tests are in the future: much longer than
// what is done before takes, on a busy machine too.
const ahead = 10 * time.Second

func TestScheduled(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		relay := startRelay(t, relayConfig())
		s := start(t, env, relayEnv(t, relay))
		s.importContacts(t, addresses(3))
		letter := simpleLetter()
		letter.SendAt = time.Now().Add(ahead).Truncate(time.Millisecond)
		id := s.submit(t, letter)
		first, err := s.Status(t.Context(), id)
		if err != nil || first.Status != "scheduled" || !first.SendAt.Equal(letter.SendAt) {
			t.Errorf("%+v, %v; want it scheduled for %v", first, err, letter.SendAt)
		}
		paused, err := s.Pause(t.Context(), id)
		if err != nil || paused.Status != "paused" {
			t.Errorf("paused as %+v, %v", paused, err)
		}
		resumed, err := s.Resume(t.Context(), id, client.Relay{})
		if err != nil || resumed.Status != "scheduled" {
			t.Errorf("resumed as %+v, %v", resumed, err)
		}
		final := s.follow(t, id, relay)
		if final.Status != "completed" || final.Sent != 3 {
			t.Errorf("ended as %+v", final)
		}
		for _, m := range relay.Messages() {
			if m.Time.Before(letter.SendAt) {
				t.Errorf("%s was mailed at %v, before %v", m.To[0], m.Time, letter.SendAt)
			}
		}
		onceEach(t, relay, 3)
	})
}

// TestMissedSchedule: a service that was down when a schedule came due, for
// longer than SCHEDULE_GRACE, asks before it sends.
func TestMissedSchedule(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, env map[string]string) {
		relay := startRelay(t, relayConfig())
		rules, grace := relayEnv(t, relay), map[string]string{"SCHEDULE_GRACE": "100ms"}
		s := start(t, env, rules, grace)
		s.importContacts(t, addresses(3))
		letter := simpleLetter()
		letter.SendAt = time.Now().Add(ahead)
		id := s.submit(t, letter)
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Until(letter.SendAt.Add(200 * time.Millisecond)))
		s = start(t, env, rules, grace)
		if st := s.follow(t, id, relay); st.Status != "paused" || st.Reason == "" || relay.Count() != 0 {
			t.Fatalf("with %d mailed it rests as %+v", relay.Count(), st)
		}
		if _, err := s.Resume(t.Context(), id, client.Relay{}); err != nil {
			t.Fatal(err)
		}
		if final := s.follow(t, id, relay); final.Status != "completed" || final.Sent != 3 {
			t.Errorf("ended as %+v", final)
		}
	})
}

// TestTimeLimit: a campaign that does not come to its end fails at
// CAMPAIGN_TIME_LIMIT, and can be resumed.
func TestTimeLimit(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, relayConfig())
	s := start(t, embedded(t), relayEnv(t, relay), map[string]string{"CAMPAIGN_TIME_LIMIT": "2s", "RELAY_RATE": "20", "RELAY_MAX_CONNECTIONS": "1"})
	const n = 80
	s.importContacts(t, addresses(n))
	id := s.submit(t, simpleLetter())
	late := s.follow(t, id, relay)
	if late.Status != "failed" || late.Reason == "" || late.Pending == 0 {
		t.Fatalf("it rests as %+v", late)
	}
	for late.Status == "failed" {
		if _, err := s.Resume(t.Context(), id, client.Relay{}); err != nil {
			t.Fatal(err)
		}
		late = s.follow(t, id, relay)
	}
	if late.Status != "completed" || late.Sent != n {
		t.Errorf("ended as %+v", late)
	}
	onceEach(t, relay, n)
}

// TestMessagesPerConnection and TestDailyLimit hold that the configuration
// arrives where it counts.
func TestMessagesPerConnection(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, relayConfig())
	s := start(t, embedded(t), relayEnv(t, relay), map[string]string{"RELAY_MESSAGES_PER_CONNECTION": "5", "RELAY_MAX_CONNECTIONS": "2"})
	s.importContacts(t, addresses(31))
	if final := s.follow(t, s.submit(t, simpleLetter()), relay); final.Status != "completed" || final.Sent != 31 {
		t.Errorf("ended as %+v", final)
	}
	carried := map[int]int{}
	for _, m := range relay.Messages() {
		carried[m.Conn]++
	}
	for conn, n := range carried {
		if n > 5 {
			t.Errorf("connection %d carried %d messages", conn, n)
		}
	}
}

func TestDailyLimit(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, relayConfig())
	s := start(t, embedded(t), relayEnv(t, relay), map[string]string{"RELAY_DAILY_LIMIT": "7"})
	s.importContacts(t, addresses(20))
	id := s.submit(t, simpleLetter())
	st := s.watch(t, id, func(st client.Status) bool { return st.Sent == 7 && st.Notice != "" })
	if st.Status != "in_progress" || !strings.Contains(st.Notice, "24 hours") || relay.Count() != 7 {
		t.Errorf("with %d mailed: %+v", relay.Count(), st)
	}
}
