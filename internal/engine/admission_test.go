package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/campaign"
	"postern/internal/mailer/smtptest"
	"postern/internal/store"
)

func TestTooManyForOneCampaign(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{config: func(c *Config) { c.Policy.MaxRecipients = 2 }})
	r.contacts(t, 3)
	runTask(t, r.Engine)
	id := r.submit(t, letter())
	got := r.awaitStatus(t, id, campaign.StatusFailed)
	r.awaitIdle(t)
	if !strings.Contains(got.Campaign.Reason, "MAX_RECIPIENTS") || got.Totals.Total != 0 || r.relay.Count() != 0 {
		t.Errorf("%+v, %d messages; reason %q", got.Totals, r.relay.Count(), got.Campaign.Reason)
	}
	if err := r.DeleteContact(t.Context(), address(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Resume(t.Context(), id, ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	r.awaitStatus(t, id, campaign.StatusCompleted)
	r.mailed(t, 2, nil)
}

// TestWhoIsNotActiveCounts: they may be by the time that their chunk is sent.
func TestWhoIsNotActiveCounts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		policy Policy
		want   campaign.Status
	}{
		"for the campaign": {Policy{MaxRecipients: 2}, campaign.StatusFailed},
		"for the day":      {Policy{DailyRecipients: 2}, campaign.StatusPaused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigOptions{config: func(c *Config) { c.Policy = tt.policy }})
			r.contacts(t, 2)
			gone := []campaign.ContactChange{{Address: "gone@example.org", Status: campaign.ContactUnsubscribed}}
			if err := r.UpsertContacts(t.Context(), gone); err != nil {
				t.Fatal(err)
			}
			runTask(t, r.Engine)
			got := r.awaitStatus(t, r.submit(t, letter()), tt.want)
			if got.Totals.Total != 0 || !strings.Contains(got.Campaign.Reason, "nobody was mailed") {
				t.Errorf("%+v; reason %q", got.Totals, got.Campaign.Reason)
			}
		})
	}
}

// behindChunk calls back once, when the first chunk is stored.
type behindChunk struct {
	store.Store

	once sync.Once
	then func()
}

func (s *behindChunk) AddChunk(ctx context.Context, control store.Lease, chunk store.Chunk, cursor string) (store.Lease, error) {
	lease, err := s.Store.AddChunk(ctx, control, chunk, cursor)
	s.once.Do(s.then)
	return lease, err
}

// TestContactsThatComeCount: whoever comes while the audience is frozen, or
// while the campaign is paused in the middle of that, is held to the policy.
func TestContactsThatComeCount(t *testing.T) {
	t.Parallel()
	const atFirst, come = chunkRecipients + 10, 30
	for name, tt := range map[string]struct {
		policy Policy
		pause  bool
		want   campaign.Status
		reason string
	}{
		"too many":                             {Policy{MaxRecipients: atFirst + 5}, false, campaign.StatusFailed, "MAX_RECIPIENTS"},
		"too many, behind a pause":             {Policy{MaxRecipients: atFirst + 5}, true, campaign.StatusFailed, "MAX_RECIPIENTS"},
		"too many for the day":                 {Policy{DailyRecipients: atFirst + 5}, false, campaign.StatusPaused, "DAILY_RECIPIENTS"},
		"too many for the day, behind a pause": {Policy{DailyRecipients: atFirst + 5}, true, campaign.StatusPaused, "DAILY_RECIPIENTS"},
		"as many as are left":                  {Policy{MaxRecipients: atFirst + come, DailyRecipients: atFirst + come}, false, campaign.StatusCompleted, ""},
		"as many as are left, behind a pause":  {Policy{MaxRecipients: atFirst + come, DailyRecipients: atFirst + come}, true, campaign.StatusCompleted, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stub := &behindChunk{}
			r := newRig(t, rigOptions{
				config: func(c *Config) { c.Policy = tt.policy },
				wrap: func(s store.Store) store.Store {
					stub.Store = s
					return stub
				},
			})
			r.clock.toNoon()
			r.contacts(t, atFirst)
			id := r.submit(t, letter())
			stub.then = func() {
				changes := make([]campaign.ContactChange, come)
				for i := range changes {
					changes[i] = campaign.ContactChange{Address: fmt.Sprintf("z%d@example.org", i)}
				}
				err := r.UpsertContacts(context.Background(), changes)
				if err == nil && tt.pause {
					_, err = r.Pause(context.Background(), id)
				}
				if err != nil {
					t.Error(err)
				}
			}
			runTask(t, r.Engine)
			if tt.pause {
				r.await(t, id, "the pause", func(got Report) bool {
					return got.Campaign.Status == campaign.StatusPaused && got.Totals.Total == chunkRecipients
				})
				r.awaitIdle(t)
				if _, err := r.Resume(t.Context(), id, ResumeOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			got := r.awaitStatus(t, id, tt.want)
			r.awaitIdle(t)
			if !strings.Contains(got.Campaign.Reason, tt.reason) {
				t.Errorf("reason %q", got.Campaign.Reason)
			}
			if most := map[bool]int{true: atFirst + come, false: chunkRecipients}[tt.reason == ""]; r.relay.Count() > most || got.Totals.Total != int64(most) {
				t.Errorf("%d messages, %+v; want %d at most", r.relay.Count(), got.Totals, most)
			}
		})
	}
}

// TestTooManyForTheDay: what a day has no room for waits for a person, who is
// told so again on the same day, and not on the next.
func TestTooManyForTheDay(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{config: func(c *Config) { c.Policy.DailyRecipients = 5 }})
	r.clock.toNoon()
	r.contacts(t, 3)
	runTask(t, r.Engine)
	r.awaitStatus(t, r.submit(t, letter()), campaign.StatusCompleted)
	second := r.submit(t, letter())
	for range 2 {
		got := r.awaitStatus(t, second, campaign.StatusPaused)
		if want := "DAILY_RECIPIENTS leaves 2 recipients of 5"; !strings.HasPrefix(got.Campaign.Reason, want) || got.Totals.Total != 0 {
			t.Errorf("%+v; reason %q", got.Totals, got.Campaign.Reason)
		}
		if _, err := r.Resume(t.Context(), second, ResumeOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	got := r.awaitStatus(t, second, campaign.StatusPaused)
	r.mailed(t, 3, nil)
	r.clock.advance(24 * time.Hour)
	if _, err := r.Resume(t.Context(), second, ResumeOptions{}); err != nil {
		t.Fatal(err, got)
	}
	r.awaitStatus(t, second, campaign.StatusCompleted)
	r.mailed(t, 3, map[string]int{address(0): 2, address(1): 2, address(2): 2})
}

// TestNamedRecipientsAreCounted: a short list of addresses counts as such.
func TestNamedRecipientsAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{config: func(c *Config) { c.Policy = Policy{MaxRecipients: 2, DailyRecipients: 2} }})
	r.clock.toNoon()
	r.contacts(t, 5)
	runTask(t, r.Engine)
	s := letter()
	s.Audience.Addresses = []string{address(1), address(4)}
	r.awaitStatus(t, r.submit(t, s), campaign.StatusCompleted)
	s.Audience.Addresses = s.Audience.Addresses[:1]
	r.awaitStatus(t, r.submit(t, s), campaign.StatusPaused)
}

// crashAtChunk loses the answer of the first write of a chunk, and what was
// to be written.
type crashAtChunk struct {
	store.Store

	crashed atomic.Bool
	swaps   atomic.Int64
}

func (s *crashAtChunk) AddChunk(ctx context.Context, control store.Lease, chunk store.Chunk, cursor string) (store.Lease, error) {
	if s.crashed.CompareAndSwap(false, true) {
		return store.Lease{}, campaign.Errorf(campaign.CodeInternal, "a crash")
	}
	return s.Store.AddChunk(ctx, control, chunk, cursor)
}

func (s *crashAtChunk) SwapCell(ctx context.Context, key string, seen store.Cell, value []byte) (store.Cell, error) {
	if !strings.HasPrefix(key, "recipients of ") {
		return s.Store.SwapCell(ctx, key, seen, value)
	}
	switch s.swaps.Add(1) {
	case 1: // somebody else was faster
		return store.Cell{}, campaign.Errorf(campaign.CodeConflict, "changed meanwhile")
	case 2: // written, and the answer lost
		if _, err := s.Store.SwapCell(ctx, key, seen, value); err != nil {
			return store.Cell{}, err
		}
		return store.Cell{}, campaign.Errorf(campaign.CodeUnavailable, "no answer")
	default:
		return s.Store.SwapCell(ctx, key, seen, value)
	}
}

// TestACampaignCountsOnce: an answer that was lost, and a task that ends
// between the count and the first chunk, do not count a campaign twice.
func TestACampaignCountsOnce(t *testing.T) {
	t.Parallel()
	var flaky *crashAtChunk
	r := newRig(t, rigOptions{
		config: func(c *Config) { c.Policy.DailyRecipients = 3 },
		wrap: func(s store.Store) store.Store {
			flaky = &crashAtChunk{Store: s}
			return flaky
		},
	})
	r.contacts(t, 3)
	runTask(t, r.Engine)
	id := r.submit(t, letter())
	r.awaitLease(t, store.LeaseKey{CampaignID: id}, func(l store.Lease) bool { return l.Owner == "" && flaky.crashed.Load() })
	r.clock.advance(time.Minute) // past the wait before the next try
	got := r.awaitStatus(t, id, campaign.StatusCompleted)
	r.mailed(t, 3, nil)
	if n := flaky.swaps.Load(); n != 2 {
		t.Errorf("%d swaps", n)
	}
	cell, err := r.store.GetCell(t.Context(), dayKey(got.Campaign.RunningSince))
	if err != nil {
		t.Fatal(err)
	}
	d, err := readDay(cell)
	if err != nil || d.Campaigns[id] != 3 || d.others("") != 3 {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestADayOfManyCampaigns: the cell stays small, and nothing of the count is
// lost.
func TestADayOfManyCampaigns(t *testing.T) {
	t.Parallel()
	const most = maxDayCampaigns + 10
	id := func(i int) string { return fmt.Sprintf("0190a5c0-0000-7000-8000-%012d", i) }
	full := day{Campaigns: map[string]int{}}
	for i := range maxDayCampaigns - 1 {
		full.Campaigns[id(i)] = 1e6
	}
	cell := store.Cell{Value: full.with(id(maxDayCampaigns-1), 1e6)}
	for i := maxDayCampaigns; i < most; i++ {
		d, err := readDay(cell)
		if err != nil {
			t.Fatal(err)
		}
		cell.Value = d.with(id(i), 1e6)
		if len(cell.Value) > store.MaxCellOctets {
			t.Fatalf("%d campaigns take %d octets", i+1, len(cell.Value))
		}
	}
	d, err := readDay(cell)
	if err != nil || d.others("") != most*1e6 || len(d.Campaigns) != maxDayCampaigns || d.Campaigns[id(most-1)] == 0 {
		t.Errorf("%d recipients, %d campaigns, %v", d.others(""), len(d.Campaigns), err)
	}
	if _, err := readDay(store.Cell{Value: []byte("{")}); campaign.CodeOf(err) != campaign.CodeInternal {
		t.Errorf("a damaged cell: %v", err)
	}
}

// TestWhoIsMailedAgainCounts: what days were given and not used is no room on
// another day, whether a campaign is retried or resumed then.
func TestWhoIsMailedAgainCounts(t *testing.T) {
	t.Parallel()
	refuse := smtptest.Config{Hook: smtptest.At(smtptest.StageRcpt, smtptest.Reply("550 5.1.1 no"))}
	r := newRig(t, rigOptions{relay: refuse, config: func(c *Config) { c.Policy.DailyRecipients = 2 }})
	r.clock.toNoon()
	r.contacts(t, 2)
	runTask(t, r.Engine)
	var ids []string
	for range 3 {
		ids = append(ids, r.submit(t, letter()))
		r.awaitStatus(t, ids[len(ids)-1], campaign.StatusCompleted)
		r.clock.advance(24 * time.Hour)
	}
	r.relay.SetHook(nil)
	for i, id := range ids {
		if _, err := r.Retry(t.Context(), id, RetryOptions{}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			r.awaitStatus(t, id, campaign.StatusCompleted)
			continue
		}
		got := r.awaitStatus(t, id, campaign.StatusPaused)
		if want := "DAILY_RECIPIENTS leaves 0 recipients of 2"; !strings.HasPrefix(got.Campaign.Reason, want) || got.Totals.Failed != 2 {
			t.Errorf("%+v; reason %q", got.Totals, got.Campaign.Reason)
		}
	}
	r.mailed(t, 2, nil)
	r.clock.advance(24 * time.Hour)
	for i, want := range []campaign.Status{campaign.StatusCompleted, campaign.StatusPaused} {
		if _, err := r.Resume(t.Context(), ids[i+1], ResumeOptions{}); err != nil {
			t.Fatal(err)
		}
		r.awaitStatus(t, ids[i+1], want)
	}
	r.mailed(t, 2, map[string]int{address(0): 2, address(1): 2})
}
