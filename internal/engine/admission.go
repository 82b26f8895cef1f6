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

// admission is how many recipients a campaign may have frozen for now, of how
// many it has.
type admission struct {
	campaign campaign.Campaign
	frozen   int
	admitted int
}

// limited says whether the policy has a number to hold campaigns to.
func (p Policy) limited() bool { return p.MaxRecipients > 0 || p.DailyRecipients > 0 }

// admit holds a campaign to the policy's numbers before any more of its
// audience is frozen, by a pass over the contacts that are not yet: too many
// for one campaign fail it, too many for the day pause it, and none of those
// that were counted is mailed. Whoever would be frozen counts, mailable at the
// moment or not: what a contact is can change until its chunk is sent. The pass
// is no snapshot, as freezing is none; what comes behind it is for extend.
// errCampaignOver.
func (f *freezer) admit(ctx context.Context, c campaign.Campaign) error {
	f.campaign = c
	if !f.e.cfg.Policy.limited() {
		return nil
	}
	totals, err := f.e.store.Totals(ctx, c.ID)
	if err != nil {
		return err
	}
	f.frozen = int(totals.Total)
	n, err := f.count(ctx)
	if err != nil {
		return err
	}
	return f.allow(ctx, n)
}

// extend is for contacts that have come since the audience was counted: it
// holds the next chunk to the policy's numbers. errCampaignOver.
func (f *freezer) extend(ctx context.Context, recipients int) error {
	if n := f.frozen + recipients; f.e.cfg.Policy.limited() && n > f.admitted {
		return f.allow(ctx, n)
	}
	return nil
}

// allow admits so many recipients of the campaign, or stops it. errCampaignOver.
func (f *freezer) allow(ctx context.Context, n int) (err error) {
	p, stop := f.e.cfg.Policy, store.Transition{Since: f.campaign.RunningSince}
	if most := p.MaxRecipients; most > 0 && n > most {
		stop.To = campaign.StatusFailed
		stop.Reason = fmt.Sprintf("it has more than %d recipients, which is all that MAX_RECIPIENTS allows; %s", most, f.soFar())
	} else if p.DailyRecipients > 0 {
		stop.To = campaign.StatusPaused
		if stop.Reason, err = f.e.reserveDay(ctx, f.campaign, n); err != nil {
			return err
		}
		if stop.Reason != "" {
			stop.Reason += "; " + f.soFar() + ", resume it on another day"
		}
	}
	if stop.Reason == "" {
		f.admitted = n
		return nil
	}
	f.e.stopCampaign(f.campaign.ID, stop)
	return errCampaignOver
}

// admitAgain holds a campaign whose audience is final to the day on which it
// runs again, before any of its chunks is opened. Who would be mailed are those
// without a result, and those whose results a retry takes back, or has: while a
// walk goes on, neither it nor what is sent makes them more, so a crash in the
// middle of it needs no more room than there was. errCampaignOver.
func (e *Engine) admitAgain(ctx context.Context, hold *holder, c campaign.Campaign) error {
	if e.cfg.Policy.DailyRecipients == 0 {
		return nil
	}
	totals, err := e.store.Totals(ctx, c.ID)
	if err != nil {
		return err
	}
	n := totals.Pending()
	for _, state := range hold.current().Reopen.States {
		if state == campaign.DeliveryFailed {
			n += totals.Failed
		} else {
			n += totals.Unknown
		}
	}
	reason, err := e.reserveDay(ctx, c, int(n))
	if err != nil || reason == "" {
		return err
	}
	e.stopCampaign(c.ID, store.Transition{
		To: campaign.StatusPaused, Since: c.RunningSince, Reason: reason + "; nobody was mailed again, resume it on another day",
	})
	return errCampaignOver
}

// soFar says whom a campaign that is stopped may have reached.
func (f *freezer) soFar() string {
	if f.frozen == 0 {
		return "nobody was mailed"
	}
	return fmt.Sprintf("nobody beyond the %d that it had before was mailed", f.frozen)
}

// count counts whom the campaign has frozen and would freeze, and stops beyond
// what the policy could allow.
func (f *freezer) count(ctx context.Context) (n int, err error) {
	p := f.e.cfg.Policy
	n = f.frozen
	for cursor := f.hold.current().Freeze.Cursor; cursor != frozenAll; {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		var contacts []campaign.Contact
		if contacts, cursor, err = f.page(ctx, cursor, countPage); err != nil {
			return 0, err
		}
		for i := range contacts {
			if f.wants(&contacts[i]) {
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

// reserveDay counts a campaign's recipients against the day on which it began,
// or was last resumed or retried: all who may be mailed from then on, those too
// whom an earlier day has counted. The reason is why it must wait, "" where it
// need not.
func (e *Engine) reserveDay(ctx context.Context, c campaign.Campaign, n int) (reason string, err error) {
	most := e.cfg.Policy.DailyRecipients
	key := dayKey(c.RunningSince)
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
			return fmt.Sprintf("DAILY_RECIPIENTS leaves %d recipients of %d for %s (UTC), and it has more",
				max(left, 0), most, c.RunningSince.UTC().Format(time.DateOnly)), nil
		}
		if known, counted := d.Campaigns[c.ID]; counted && known >= n {
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
