package engine

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"postern/internal/campaign"
	"postern/internal/store"
)

// scanChunks bounds the work of one page of deliveries: a page that looks for
// a rare state may be short, or empty, and still have a next one.
const scanChunks = 20

// Report gives a campaign with its totals. CodeNotFound.
func (e *Engine) Report(ctx context.Context, id string) (Report, error) {
	c, err := e.store.GetCampaign(ctx, id)
	if err != nil {
		return Report{}, err
	}
	return e.withTotals(ctx, c)
}

// withTotals adds the totals to a campaign that was read before them, so one
// that is seen as completed has nobody pending: unless a retry has begun in
// between, which a second look shows.
func (e *Engine) withTotals(ctx context.Context, c campaign.Campaign) (Report, error) {
	totals, err := e.store.Totals(ctx, c.ID)
	if err == nil && c.Status == campaign.StatusCompleted && totals.Pending() > 0 {
		c, err = e.store.GetCampaign(ctx, c.ID)
	}
	return Report{Campaign: c, Totals: totals}, err
}

// CampaignPage is a page of the listing of campaigns.
type CampaignPage struct {
	Reports []Report // newest first
	// Damaged are the ids of those of the page that cannot be read.
	Damaged []string
	Next    string // where to go on; "" when all were listed
}

// Campaigns lists campaigns page by page. One that cannot be read costs the
// others nothing: its id is given, and the log has the cause.
func (e *Engine) Campaigns(ctx context.Context, cursor string, limit int) (CampaignPage, error) {
	listed, err := e.listCampaigns(ctx, cursor, limit)
	if err != nil {
		return CampaignPage{}, err
	}
	page := CampaignPage{Reports: make([]Report, 0, len(listed.Campaigns)), Next: listed.Next}
	for _, c := range listed.Campaigns {
		report, err := e.withTotals(ctx, c)
		switch {
		case err != nil && campaign.CodeOf(err) == campaign.CodeDamaged:
			d := store.DamagedCampaign{ID: c.ID, Err: err}
			e.metDamaged(ctx, d)
			listed.Damaged = append(listed.Damaged, d)
		case err != nil:
			return CampaignPage{}, err
		default:
			page.Reports = append(page.Reports, report)
		}
	}
	for _, d := range listed.Damaged {
		page.Damaged = append(page.Damaged, d.ID)
	}
	return page, nil
}

// listCampaigns gives a page of the store's listing, and says which campaigns
// of it cannot be read.
func (e *Engine) listCampaigns(ctx context.Context, cursor string, limit int) (store.CampaignPage, error) {
	page, err := e.store.ListCampaigns(ctx, cursor, limit)
	for _, d := range page.Damaged {
		e.metDamaged(ctx, d)
	}
	return page, err
}

// metDamaged says that a campaign was passed over.
func (e *Engine) metDamaged(ctx context.Context, d store.DamagedCampaign) {
	e.metrics.damaged.Inc()
	e.logFor(ctx).Error().Err(d.Err).Str("campaign", d.ID).Msg("a campaign cannot be read and was passed over")
}

// Deliveries lists a campaign's recipients with what became of them, pending
// ones included, in the order of the audience. CodeNotFound; CodeInvalid for
// a cursor that is not of this listing. A campaign that has forgotten its
// recipients lists nobody.
func (e *Engine) Deliveries(ctx context.Context, id string, q DeliveryQuery) ([]campaign.Delivery, string, error) {
	at, err := parsePlace(q.Cursor)
	if err != nil {
		return nil, "", err
	}
	c, err := e.store.GetCampaign(ctx, id)
	if err != nil || !c.ExpiredAt.IsZero() {
		return nil, "", err
	}
	control, err := e.store.GetLease(ctx, store.LeaseKey{CampaignID: id})
	if err != nil {
		return nil, "", notFoundAs(err, "Campaign not found")
	}
	var found []campaign.Delivery
	for scanned := 0; at.chunk <= control.Freeze.Chunks && scanned < scanChunks; scanned++ {
		all, err := e.chunkDeliveries(ctx, store.LeaseKey{CampaignID: id, Number: at.chunk}, q.State)
		if err != nil {
			return nil, "", err
		}
		for _, d := range all {
			if d.Index < at.index || q.State != "" && d.State != q.State {
				continue
			}
			if len(found) == q.Limit {
				return found, place{at.chunk, d.Index}.String(), nil
			}
			found = append(found, d)
		}
		at = place{chunk: at.chunk + 1}
	}
	if at.chunk > control.Freeze.Chunks {
		return found, "", nil
	}
	return found, at.String(), nil
}

// chunkDeliveries gives the chunk's recipients of a state (all for ""),
// perhaps with others among them. Rows stand for the recipients that are
// settled; of the others, which a retry may have opened again, they tell what
// was before.
func (e *Engine) chunkDeliveries(ctx context.Context, key store.LeaseKey, state campaign.DeliveryState) ([]campaign.Delivery, error) {
	// The lease first: whoever is settled by it has a row.
	lease, err := e.store.GetLease(ctx, key)
	if err != nil {
		return nil, err
	}
	rows, err := e.store.Deliveries(ctx, key)
	if err != nil {
		return nil, err
	}
	settled := lease.Progress.Settled
	if state != "" && state != campaign.DeliveryPending {
		return slices.DeleteFunc(rows, func(d campaign.Delivery) bool { return !settled.Has(d.Index) }), nil
	}
	audience, err := readAudience(ctx, e.store, key)
	if err != nil {
		return nil, err
	}
	return mergeDeliveries(lease, audience, rows), nil
}

func mergeDeliveries(lease store.Lease, audience campaign.Audience, rows []campaign.Delivery) []campaign.Delivery {
	all := make([]campaign.Delivery, len(audience.Recipients))
	for i, r := range audience.Recipients {
		all[i] = campaign.Delivery{Index: i, Address: r.Address, State: campaign.DeliveryPending}
	}
	for _, d := range rows {
		switch p := &all[d.Index]; {
		case lease.Progress.Settled.Has(d.Index):
			*p = d
		case d.State != campaign.DeliverySent: // sent since the lease was read
			p.Attempts, p.Reply, p.UpdatedAt = d.Attempts, d.Reply, d.UpdatedAt
		}
	}
	for _, d := range lease.Progress.Deferred {
		p := &all[d.Index]
		p.Attempts, p.Reply, p.NextAttempt = d.Attempts, d.Reply, d.Next
	}
	return all
}

// place is where a listing of deliveries goes on.
type place struct{ chunk, index int }

func (p place) String() string { return strconv.Itoa(p.chunk) + ":" + strconv.Itoa(p.index) }

func parsePlace(cursor string) (place, error) {
	if cursor == "" {
		return place{chunk: 1}, nil
	}
	chunk, index, _ := strings.Cut(cursor, ":")
	c, errC := strconv.Atoi(chunk)
	i, errI := strconv.Atoi(index)
	if errC != nil || errI != nil || c < 1 || i < 0 {
		return place{}, campaign.Invalid("cursor", "is not one of this listing's")
	}
	return place{c, i}, nil
}

func notFoundAs(err error, message string) error {
	if campaign.CodeOf(err) == campaign.CodeNotFound {
		return campaign.Errorf(campaign.CodeNotFound, "%s", message)
	}
	return err
}
