package storetest

import (
	"strings"
	"testing"

	"postern/internal/campaign"
	"postern/internal/store"
)

// testDamage: a campaign whose record cannot be read costs itself alone.
func (h Harness) testDamage(t *testing.T) {
	for name, damage := range h.Damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t, h.Open(t))
			oldest, bad, newest := k.start().ID, k.reach(campaign.StatusPaused).ID, k.start().ID
			damage(t, k.s, bad)
			for _, limit := range []int{1, 2, 100} {
				good, damaged := k.campaignPages(limit)
				k.same(good, []string{newest, oldest}, "the campaigns that are listed")
				if len(damaged) != 1 || damaged[0].ID != bad {
					k.Fatalf("the damaged ones are %+v, want %s", damaged, bad)
				}
				k.damaged(damaged[0].Err, bad, "the listing")
			}
			k.refusesDamaged(bad)
			k.same(k.campaign(newest).ID, newest, "another campaign")
			k.transition(newest, store.Transition{To: campaign.StatusPaused, At: k.later(9)})
			if again := k.start().ID; k.campaign(again).ID != again {
				k.Fatalf("no campaign can be made beside a damaged one")
			}
		})
	}
}

// campaignPages reads the listing to its end.
func (k kit) campaignPages(limit int) (ids []string, damaged []store.DamagedCampaign) {
	k.Helper()
	for cursor := ""; ; {
		page, err := k.s.ListCampaigns(k.Context(), cursor, limit)
		k.ok(err, "ListCampaigns")
		if n := len(page.Campaigns) + len(page.Damaged); n > limit {
			k.Fatalf("a page of %d, the limit is %d", n, limit)
		}
		for i := range page.Campaigns {
			ids = append(ids, page.Campaigns[i].ID)
		}
		damaged = append(damaged, page.Damaged...)
		if cursor = page.Next; cursor == "" {
			return ids, damaged
		}
	}
}

// refusesDamaged sees that what needs the record of a damaged campaign, which
// is paused, says so and changes nothing.
func (k kit) refusesDamaged(id string) {
	k.Helper()
	signal := k.signal()
	control := k.lease(store.LeaseKey{CampaignID: id})
	calls := map[string]func() error{
		"GetCampaign": func() error { _, err := k.s.GetCampaign(k.Context(), id); return err },
		"Transition": func() error {
			_, err := k.s.Transition(k.Context(), id, store.Transition{To: campaign.StatusCancelled, At: k.later(5)})
			return err
		},
		"Restart": func() error {
			_, err := k.s.Restart(k.Context(), id, store.Restart{
				From: campaign.StatusPaused, To: campaign.StatusInProgress, At: k.later(5), DueAt: k.later(5),
			})
			return err
		},
		"EraseAddress": func() error { return k.s.EraseAddress(k.Context(), id, "x@example.org") },
	}
	for name, call := range calls {
		k.damaged(call(), id, name)
	}
	k.same(k.lease(control.Key), control, "the control lease")
	k.same(k.signal(), signal, "the signal")
}

// damaged ends the test unless the error says of the campaign that its record
// is damaged.
func (k kit) damaged(err error, id, call string) {
	k.Helper()
	k.fails(err, campaign.CodeDamaged, call)
	if !strings.Contains(err.Error(), id) || !strings.Contains(err.Error(), "backup") {
		k.Fatalf("%s: %v; want the campaign, and what to do", call, err)
	}
}
