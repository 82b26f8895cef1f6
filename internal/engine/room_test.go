package engine

import (
	"slices"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/mailer"
	"postern/internal/mailer/smtptest"
)

// manyRelays is a rig whose letters have room for three of largeLetter, with
// relays besides the default one that accept connections and say nothing until
// the channel is closed.
func manyRelays(t *testing.T, n int) (r *rig, silent []*smtptest.Server, answer chan struct{}) {
	t.Helper()
	answer = make(chan struct{})
	for range n {
		silent = append(silent, startRelay(t, smtptest.Config{Hook: smtptest.At(smtptest.StageGreeting, smtptest.Action{}.After(answer))}))
	}
	r = newRig(t, rigOptions{config: func(c *Config) {
		ports := []int{c.DefaultRelay.Port}
		for _, s := range silent {
			ports = append(ports, s.Port())
		}
		rules, err := mailer.ParseRules([]string{"127.0.0.1"}, ports)
		if err != nil {
			t.Fatal(err)
		}
		c.Session.Rules = rules
		c.MaxLetterBytes = 3 * largeOctets
	}})
	return r, silent, answer
}

const (
	largeFile   = 400 << 10
	largeOctets = 600 << 10 // at least letterOctets of largeLetter
)

// largeLetter is one that needs room.
func largeLetter(to int) Submission {
	s := letter()
	s.Audience.Addresses = []string{address(to)}
	s.Attachments = []File{{Filename: "a.bin", ContentType: "application/octet-stream", Data: make([]byte, largeFile, largeFile+FileRoom)}}
	return s
}

// TestLettersOfADeadRelay: however many large campaigns a relay keeps waiting,
// the memory is bounded and another relay's campaigns go on; when the relay
// comes back, all are completed.
func TestLettersOfADeadRelay(t *testing.T) {
	t.Parallel()
	const many = chunksPerTask + 8
	r, relays, answer := manyRelays(t, 1)
	silent := relays[0]
	r.contacts(t, many)
	var waiting []string
	for i := range many {
		waiting = append(waiting, r.submit(t, over(silent, largeLetter(i))))
	}
	runTask(t, r.Engine)
	eventually(t, "all but one wait", func() bool { return loaded(r) == 1 && len(queue(r)) == many-1 })

	r.awaitStatus(t, r.submit(t, largeLetter(0)), campaign.StatusCompleted)
	eventually(t, "the silent relay's one letter has room, alone", func() bool { return loaded(r) == 1 })

	close(answer)
	most := int64(0)
	for _, id := range waiting {
		eventually(t, "completed", func() bool {
			most = max(most, used(r))
			got, err := r.Report(t.Context(), id)
			return err == nil && got.Campaign.Status == campaign.StatusCompleted
		})
	}
	eventually(t, "no letter is loaded", func() bool { return used(r) == 0 && len(queue(r)) == 0 })
	if most > 3*largeOctets {
		t.Errorf("letters had %d octets", most)
	}
	if n := silent.Count(); n != many {
		t.Errorf("the relay that came back has %d messages, want %d", n, many)
	}
}

// TestRoomIsGivenInOrder: nobody passes who came before, unless that one waits
// for its relay, and a letter that is larger than all the room goes alone.
func TestRoomIsGivenInOrder(t *testing.T) {
	t.Parallel()
	r, _, _ := manyRelays(t, 0)
	lane := r.lanes.Open(r.cfg.DefaultRelay)
	defer lane.Close()
	var woken []hint
	m := newRooms(1000<<10, func(hs ...hint) { woken = append(woken, hs...) })
	enter := func(c *chunk) bool {
		_, ok := m.enter(c)
		return ok
	}
	of := func(id string, octets int64) *chunk {
		other := r.lanes.Open(mailer.Relay{Host: id + ".test", Port: 25}) // a relay of its own
		t.Cleanup(other.Close)
		c := campaign.Campaign{ID: id, Letter: campaign.Letter{HTML: campaign.ContentRef{Size: octets / 8}}}
		return &chunk{run: &run{campaign: c, lane: other}}
	}
	a, b, c, whole := of("a", 600<<10), of("b", 600<<10), of("c", 300<<10), of("whole", 5000<<10)
	sameRelay := of("same", 300<<10)
	sameRelay.run.lane = a.run.lane
	small := of("small", smallLetter)

	if !enter(a) || enter(b) {
		t.Fatal("a has room, and b has none beside it")
	}
	if enter(c) {
		t.Error("c passed b, who came before")
	}
	if !enter(small) {
		t.Error("a small letter waits")
	}
	if enter(sameRelay) {
		t.Error("a relay that takes no messages has two letters")
	}
	if enter(whole) {
		t.Error("the whole room is not free")
	}
	m.gaveBack("b", hint{version: 7})
	if m.leave(small) || !m.leave(a) || m.leave(a) {
		t.Error("leaving: a once")
	}
	if !slices.ContainsFunc(woken, func(h hint) bool { return h.version == 7 }) {
		t.Error("b was not told of the room")
	}
	if !enter(b) || !enter(c) || m.used != 900<<10 {
		t.Errorf("b and c have room now: %d octets", m.used)
	}
	m.leave(b)
	m.leave(c)
	if !enter(sameRelay) || enter(whole) {
		t.Error("same came before whole")
	}
	m.leave(sameRelay)
	if !enter(whole) || m.used != m.limit {
		t.Errorf("whole has %d octets of %d", m.used, m.limit)
	}
}

// TestRoomIsGivenByTurns: who has had its turn makes room for who waits.
func TestRoomIsGivenByTurns(t *testing.T) {
	t.Parallel()
	r, silent, _ := manyRelays(t, 4)
	r.contacts(t, 5)
	for i := range silent {
		r.submit(t, over(silent[i], largeLetter(i)))
	}
	runTask(t, r.Engine)
	eventually(t, "three have the room", func() bool { return loaded(r) == 3 && len(queue(r)) == 1 })
	other := r.submit(t, largeLetter(4))
	r.rooms.mu.Lock()
	for _, held := range r.rooms.held {
		held.since = time.Now().Add(-idleTurn)
	}
	r.rooms.mu.Unlock()
	r.awaitStatus(t, other, campaign.StatusCompleted)
}

// over has a submission sent over a relay of its own.
func over(relay *smtptest.Server, s Submission) Submission {
	plain := false
	s.Relay = SubmittedRelay{Host: relay.Host(), Port: relay.Port(), UseTLS: &plain}
	return s
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); !holds(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited for: %s", what)
		}
	}
}

func loaded(r *rig) int {
	r.rooms.mu.Lock()
	defer r.rooms.mu.Unlock()
	return len(r.rooms.held)
}

func used(r *rig) int64 {
	r.rooms.mu.Lock()
	defer r.rooms.mu.Unlock()
	return r.rooms.used
}

func queue(r *rig) []*applicant {
	r.rooms.mu.Lock()
	defer r.rooms.mu.Unlock()
	return slices.Clone(r.rooms.waiting)
}
