package api

import (
	"context"
	"net/http"

	"postern/internal/campaign"
	"postern/internal/engine"
)

// maxCourseBytes bounds the body of a call that changes a campaign's course: a
// relay and a few words.
const maxCourseBytes = 64 << 10

// retryIn is the body of POST /campaigns/{campaign_id}/retry.
type retryIn struct {
	States []campaign.DeliveryState `json:"states"`

	relayIn `json:",inline"`
}

func (a *api) pauseCampaign(w http.ResponseWriter, r *http.Request) {
	a.changeCourse(w, r, &struct{}{}, a.service.Pause)
}

func (a *api) cancelCampaign(w http.ResponseWriter, r *http.Request) {
	a.changeCourse(w, r, &struct{}{}, a.service.Cancel)
}

func (a *api) resumeCampaign(w http.ResponseWriter, r *http.Request) {
	var in relayIn
	a.changeCourse(w, r, &in, func(ctx context.Context, id string) (engine.Report, error) {
		var f faults
		o := engine.ResumeOptions{Relay: in.given(&f)}
		if err := f.err(); err != nil {
			return engine.Report{}, err
		}
		return a.service.Resume(ctx, id, o)
	})
}

func (a *api) retryCampaign(w http.ResponseWriter, r *http.Request) {
	var in retryIn
	a.changeCourse(w, r, &in, func(ctx context.Context, id string) (engine.Report, error) {
		var f faults
		o := engine.RetryOptions{States: in.states(&f), Relay: in.given(&f)}
		if err := f.err(); err != nil {
			return engine.Report{}, err
		}
		return a.service.Retry(ctx, id, o)
	})
}

// changeCourse reads the body into in, where there is one, makes the change
// and answers with the campaign as it is then.
func (a *api) changeCourse(
	w http.ResponseWriter, r *http.Request, in any, change func(ctx context.Context, id string) (engine.Report, error),
) {
	id, err := campaignID(r)
	if err == nil {
		err = readOptionalJSON(r, in)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	report, err := change(r.Context(), id)
	if err != nil {
		a.fail(w, r, named(err, campaignNotFound))
		return
	}
	ok(w, a.campaignOut(report, r.URL.Path))
}

// given is the relay that the members name, nil where there are none.
func (in relayIn) given(f *faults) *engine.SubmittedRelay {
	relay := in.relay(f)
	if relay == (engine.SubmittedRelay{}) {
		return nil
	}
	return &relay
}

// states reads whose deliveries to try again; none where the body does not
// say. An empty list is a fault: whoever picked nobody must not mail anybody.
func (in retryIn) states(f *faults) []campaign.DeliveryState {
	if in.States != nil && len(in.States) == 0 {
		f.add("states", "must name one at least; leave it out for the failed ones")
	}
	return in.States
}
