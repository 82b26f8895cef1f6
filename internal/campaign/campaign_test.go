package campaign_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"postern/internal/campaign"
)

func TestStatusTransitions(t *testing.T) {
	t.Parallel()
	legal := map[campaign.Status]string{
		campaign.StatusScheduled:  "pending paused cancelled",
		campaign.StatusPending:    "in_progress paused failed cancelled",
		campaign.StatusInProgress: "completed paused failed cancelled",
		campaign.StatusPaused:     "scheduled pending in_progress cancelled",
		campaign.StatusCompleted:  "in_progress",
		campaign.StatusFailed:     "pending in_progress cancelled",
		campaign.StatusCancelled:  "",
	}
	for _, from := range campaign.Statuses {
		for _, to := range campaign.Statuses {
			want := slices.Contains(strings.Fields(legal[from]), string(to))
			if got := from.CanBecome(to); got != want {
				t.Errorf("%s.CanBecome(%s) = %v; want %v", from, to, got, want)
			}
		}
	}
	if len(legal) != len(campaign.Statuses) || campaign.Status("gone").CanBecome(campaign.StatusPending) {
		t.Errorf("%d statuses, want %d, and no other", len(campaign.Statuses), len(legal))
	}
}

func TestStatusKinds(t *testing.T) {
	t.Parallel()
	const none, active, ended = 0, 1, 2
	kinds := map[campaign.Status]int{
		campaign.StatusScheduled: none, campaign.StatusPaused: none,
		campaign.StatusPending: active, campaign.StatusInProgress: active,
		campaign.StatusCompleted: ended, campaign.StatusFailed: ended, campaign.StatusCancelled: ended,
	}
	for _, s := range campaign.Statuses {
		kind, known := kinds[s]
		if !known || s.Active() != (kind == active) || s.Ended() != (kind == ended) {
			t.Errorf("%s: Active %v, Ended %v; want kind %d (known %v)", s, s.Active(), s.Ended(), kind, known)
		}
	}
}

func TestTotals(t *testing.T) {
	t.Parallel()
	totals := campaign.Totals{Total: 10, Final: true, Chunks: 1, ChunksDone: 1}
	for i, s := range campaign.DeliveryStates {
		totals.Count(s, int64(i))
	}
	if got := totals.Sent + totals.Failed + totals.Unknown + totals.Suppressed + totals.Pending(); got != totals.Total {
		t.Errorf("the parts make %d of %d", got, totals.Total)
	}
	if totals.Pending() != 0 || !totals.Complete() {
		t.Errorf("pending %d, complete %v; want 0, true", totals.Pending(), totals.Complete())
	}
	for what, incomplete := range map[string]campaign.Totals{
		"an audience that grows": {Total: 1, Sent: 1, Chunks: 1, ChunksDone: 1},
		"an open chunk":          {Total: 1, Sent: 1, Chunks: 2, ChunksDone: 1, Final: true},
		"an open recipient":      {Total: 2, Sent: 1, Chunks: 1, ChunksDone: 1, Final: true},
	} {
		if incomplete.Complete() {
			t.Errorf("a campaign with %s is complete", what)
		}
	}
}

func TestContactChangeCheck(t *testing.T) {
	t.Parallel()
	tags := []string{"ok", ""}
	long := map[string]string{}
	for i := range 101 {
		long[fmt.Sprint("f", i)] = "x"
	}
	for name, c := range map[string]struct {
		change campaign.ContactChange
		fields []string
	}{
		"fine":          {campaign.ContactChange{Address: "a@b.example", Set: map[string]string{"Agency Name": "Ä"}}, nil},
		"address":       {campaign.ContactChange{Address: "nobody"}, []string{"contacts[3].email"}},
		"status":        {campaign.ContactChange{Address: "a@b.example", Status: "gone"}, []string{"contacts[3].status"}},
		"braces":        {campaign.ContactChange{Address: "a@b.example", Set: map[string]string{"a}b": ""}}, []string{"contacts[3].a}b"}},
		"empty name":    {campaign.ContactChange{Address: "a@b.example", Set: map[string]string{"": ""}}, []string{"contacts[3]"}},
		"invalid UTF-8": {campaign.ContactChange{Address: "a@b.example", Set: map[string]string{"f": "\xff"}}, []string{"contacts[3].f"}},
		"empty tag":     {campaign.ContactChange{Address: "a@b.example", Tags: &tags}, []string{"contacts[3].tags[1]"}},
		"too many":      {campaign.ContactChange{Address: "a@b.example", Set: long}, []string{"contacts[3]"}},
		"too large":     {campaign.ContactChange{Address: "a@b.example", Set: map[string]string{"f": strings.Repeat("x", 64<<10)}}, []string{"contacts[3]"}},
		"two at a time": {campaign.ContactChange{Address: "x", Status: "y"}, []string{"contacts[3].email", "contacts[3].status"}},
	} {
		faults := c.change.Check("contacts[3].")
		var fields []string
		for _, f := range faults {
			fields = append(fields, f.Field)
		}
		if fmt.Sprint(fields) != fmt.Sprint(c.fields) {
			t.Errorf("%s: faults %v; want them in %v", name, faults, c.fields)
		}
	}
}

func TestError(t *testing.T) {
	t.Parallel()
	err := error(campaign.Wrap(campaign.CodeUnavailable, io.ErrUnexpectedEOF, "the store does not answer"))
	wrapped := fmt.Errorf("checkpoint: %w", err)
	if !errors.Is(wrapped, io.ErrUnexpectedEOF) || campaign.CodeOf(wrapped) != campaign.CodeUnavailable {
		t.Errorf("cause or code lost in %v", wrapped)
	}
	if got, want := err.Error(), "the store does not answer: unexpected EOF"; got != want {
		t.Errorf("Error() = %q; want %q", got, want)
	}
	invalid := campaign.InvalidAll([]campaign.Fault{{Field: "a", Rule: "is bad"}, {Field: "b", Rule: "is worse"}})
	if got, want := invalid.Error(), "invalid request: a is bad; b is worse"; got != want {
		t.Errorf("Error() = %q; want %q", got, want)
	}
	if got := campaign.CodeOf(io.EOF); got != campaign.CodeInternal {
		t.Errorf("CodeOf(io.EOF) = %q", got)
	}
}
