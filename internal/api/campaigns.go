package api

import (
	"net/http"
	"slices"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"

	"postern/internal/campaign"
	"postern/internal/engine"
)

// Page sizes. A page of campaigns reads every campaign's totals, so it is a
// smaller one.
const (
	defaultPage      = 100
	maxPage          = 1000
	maxCampaignsPage = 100
)

// campaignNotFound is what old clients look for.
const campaignNotFound = "Campaign not found"

func (a *api) postCampaign(w http.ResponseWriter, r *http.Request) {
	submission, err := a.readSubmission(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	report, created, err := a.service.Submit(r.Context(), submission)
	if err != nil {
		if campaign.CodeOf(err) == campaign.CodeConflict { // a call with the same key is under way
			w.Header().Set("Retry-After", "1")
		}
		a.fail(w, r, err)
		return
	}
	exchangeOf(r.Context()).about = report.Campaign.ID
	w.Header().Set("Location", statusPath(report.Campaign.ID))
	if !created {
		w.Header().Set(headerReplayed, "true")
	}
	writeJSON(w, http.StatusAccepted, "application/json", acceptedOut{
		campaignOut: a.campaignOut(report, r.URL.Path),
		Results:     []struct{}{},
		Timestamp:   moment(report.Campaign.CreatedAt),
	})
}

func (a *api) readSubmission(r *http.Request) (engine.Submission, error) {
	key, err := idempotencyKey(r)
	if err != nil {
		return engine.Submission{}, err
	}
	var in campaignIn
	body, err := readJSON(r, &in)
	if err != nil {
		return engine.Submission{}, err
	}
	s, err := in.submission()
	s.SourceVPCE = a.sourceVPCE(r)
	s.IdempotencyKey = key
	s.RequestDigest = requestDigest(r, body)
	return s, err
}

func (a *api) getCampaign(w http.ResponseWriter, r *http.Request) {
	id, err := campaignID(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	report, err := a.service.Report(r.Context(), id)
	if err != nil {
		a.fail(w, r, named(err, campaignNotFound))
		return
	}
	ok(w, a.campaignStatusOut(r, report))
}

// campaignID reads the path's campaign. What cannot be an id is not looked
// up.
func campaignID(r *http.Request) (string, error) {
	const most = 128
	id := chi.URLParam(r, "campaign_id")
	for _, c := range []byte(id) {
		if c <= ' ' || c >= 0x7f || len(id) > most {
			return "", campaign.Errorf(campaign.CodeNotFound, "%s", campaignNotFound)
		}
	}
	if uuid.Validate(id) == nil { // a caller may write anything there, which the log is better without
		exchangeOf(r.Context()).about = id
	}
	return id, nil
}

func (a *api) listCampaigns(w http.ResponseWriter, r *http.Request) {
	const listing = "campaigns"
	p, err := a.page(r, listing, maxCampaignsPage)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	page, err := a.service.Campaigns(r.Context(), p.cursor, p.size())
	if err != nil {
		a.fail(w, r, err)
		return
	}
	out := campaignsOut{
		Campaigns: make([]campaignOut, len(page.Reports)), Count: len(page.Reports), Damaged: append([]string{}, page.Damaged...),
	}
	for i, report := range page.Reports {
		out.Campaigns[i] = a.campaignOut(report, r.URL.Path)
	}
	out.NextCursor = a.cursors.seal(listing, page.Next)
	ok(w, out)
}

func (a *api) listDeliveries(w http.ResponseWriter, r *http.Request) {
	id, err := campaignID(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	state, err := deliveryState(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	listing := "deliveries/" + id + "/" + string(state)
	p, err := a.page(r, listing, maxPage)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	query := engine.DeliveryQuery{State: state, Cursor: p.cursor, Limit: p.size()}
	deliveries, next, err := a.service.Deliveries(r.Context(), id, query)
	if err != nil {
		a.fail(w, r, named(err, campaignNotFound))
		return
	}
	out := deliveriesOut{Deliveries: make([]deliveryOut, len(deliveries)), Count: len(deliveries)}
	for i, d := range deliveries {
		out.Deliveries[i] = newDeliveryOut(d)
	}
	out.NextCursor = a.cursors.seal(listing, next)
	ok(w, out)
}

func deliveryState(r *http.Request) (campaign.DeliveryState, error) {
	q, err := readQuery(r)
	if err != nil {
		return "", err
	}
	given, err := q.one("state")
	state := campaign.DeliveryState(given)
	if err != nil || state == "" || slices.Contains(campaign.DeliveryStates, state) {
		return state, err
	}
	return "", campaign.Invalid("state", "must be one of %v", campaign.DeliveryStates)
}
