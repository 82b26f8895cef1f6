package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"postern/internal/campaign"
	"postern/internal/store"
)

// countPage is how many contacts are read at a time to count an audience.
const countPage = 1000

// admit holds a campaign to the policy's numbers before the first chunk of its
// audience is frozen, by a pass over the contacts: too many for one campaign
// fail it, too many for the day pause it, and nobody has been mailed. Those
// count who would be mailed: active ones, in domains that are allowed. The
// pass is no snapshot, as freezing is none. errCampaignOver.
func (f *freezer) admit(ctx context.Context, c campaign.Campaign) error {
	p, freeze := f.e.cfg.Policy, f.hold.current().Freeze
	if p.MaxRecipients == 0 && p.DailyRecipients == 0 || freeze.Cursor != "" || freeze.Chunks > 0 {
		return nil
	}
	n, err := f.count(ctx)
	if err != nil {
		return err
	}
	stop := store.Transition{Since: c.RunningSince}
	if most := p.MaxRecipients; most > 0 && n > most {
		stop.To = campaign.StatusFailed
		stop.Reason = fmt.Sprintf("it has more than %d recipients, which is all that MAX_RECIPIENTS allows; nobody was mailed", most)
	} else if p.DailyRecipients > 0 {
		stop.To = campaign.StatusPaused
		if stop.Reason, err = f.e.reserveDay(ctx, c, n); err != nil {
			return err
		}
	}
	if stop.Reason == "" {
		return nil
	}
	f.e.stopCampaign(c.ID, stop)
	return errCampaignOver
}

// count counts whom the campaign would mail, and stops beyond what the policy
// could allow.
func (f *freezer) count(ctx context.Context) (n int, err error) {
	p := f.e.cfg.Policy
	for cursor := ""; cursor != frozenAll; {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		var contacts []campaign.Contact
		if contacts, cursor, err = f.page(ctx, cursor, countPage); err != nil {
			return 0, err
		}
		for i := range contacts {
			if contacts[i].Status == campaign.ContactActive && f.wants(&contacts[i]) && p.maySendTo(contacts[i].Address) {
				n++
			}
		}
		if p.MaxRecipients > 0 && n > p.MaxRecipients || p.DailyRecipients > 0 && n > p.DailyRecipients {
			break
		}
	}
	return n, nil
}

// day keeps how many recipients the campaigns of a UTC day have, in a cell of
// that day's.
type day struct {
	// Write is of this write alone: the store tells a write that is repeated
	// by its value.
	Write string `json:"write"`
	// Campaigns has the recipients of each by its id, so that one which is
	// admitted again, behind a crash or a resumption, counts once.
	Campaigns map[string]int `json:"campaigns"`
	// Earlier are the recipients of campaigns that Campaigns has no room for.
	Earlier int `json:"earlier"`
}

// maxDayCampaigns keeps a day's cell within store.MaxCellOctets.
const maxDayCampaigns = 1000

// dayKey names the cell of the day on which a campaign began. A crash does not
// change it, whatever the day is by then.
func dayKey(began time.Time) string { return "recipients of " + began.UTC().Format(time.DateOnly) }

// reserveDay counts a campaign's recipients against the day on which it began
// or was resumed. The reason is why it must wait, "" where it need not.
func (e *Engine) reserveDay(ctx context.Context, c campaign.Campaign, n int) (reason string, err error) {
	key, most := dayKey(c.RunningSince), e.cfg.Policy.DailyRecipients
	for {
		cell, err := e.store.GetCell(ctx, key)
		if err != nil {
			return "", err
		}
		d, err := readDay(cell)
		if err != nil {
			return "", err
		}
		left := most - d.others(c.ID)
		if n > left {
			return fmt.Sprintf("DAILY_RECIPIENTS leaves %d recipients of %d for %s (UTC), and it has more; nobody was mailed, resume it on another day",
				max(left, 0), most, c.RunningSince.UTC().Format(time.DateOnly)), nil
		}
		if known, counted := d.Campaigns[c.ID]; counted && known == n {
			return "", nil
		}
		_, err = e.store.SwapCell(ctx, key, cell, d.with(c.ID, n))
		if campaign.CodeOf(err) != campaign.CodeConflict {
			return "", err
		}
	}
}

func readDay(cell store.Cell) (d day, err error) {
	if len(cell.Value) > 0 {
		err = json.Unmarshal(cell.Value, &d)
	}
	if err != nil {
		return day{}, campaign.Wrap(campaign.CodeInternal, err, "the count of the day's recipients cannot be read")
	}
	if d.Campaigns == nil {
		d.Campaigns = map[string]int{}
	}
	return d, nil
}

// others counts the recipients of all campaigns but one.
func (d *day) others(id string) int {
	n := d.Earlier
	for other, recipients := range d.Campaigns {
		if other != id {
			n += recipients
		}
	}
	return n
}

// with gives the day's new value. The ids sort by age: the oldest makes room.
func (d *day) with(id string, n int) []byte {
	d.Campaigns[id] = n
	if len(d.Campaigns) > maxDayCampaigns {
		oldest := slices.Min(slices.Collect(maps.Keys(d.Campaigns)))
		d.Earlier += d.Campaigns[oldest]
		delete(d.Campaigns, oldest)
	}
	d.Write = uuid.NewString()
	value, err := json.Marshal(d)
	if err != nil {
		panic(err) // strings and integers always have a form
	}
	return value
}
