package api

import (
	"net/http"
	"net/url"

	"github.com/go-chi/chi/v5"

	"postern/internal/campaign"
	"postern/internal/engine"
)

// Listings of the search for a person, for their cursors: who may read may not
// erase with what reading gave.
const (
	personListing  = "person"
	erasureListing = "erasure"
)

type personOut struct {
	// Contact is null where there is none, and behind the first page.
	Contact    any                 `json:"contact"`
	Deliveries []personDeliveryOut `json:"deliveries"`
	Complete   bool                `json:"complete"`
	NextCursor *string             `json:"next_cursor"`
}

type personDeliveryOut struct {
	CampaignID   string `json:"campaign_id"`
	CampaignName string `json:"campaign_name"`
	deliveryOut  `json:",inline"`

	Values map[string]string `json:"values"`
}

type erasureOut struct {
	ContactDeleted   bool     `json:"contact_deleted"`
	RecipientsErased int      `json:"recipients_erased"`
	Remaining        []string `json:"remaining"`
	Complete         bool     `json:"complete"`
	NextCursor       *string  `json:"next_cursor"`
}

// getPerson exports what is known of a person.
func (a *api) getPerson(w http.ResponseWriter, r *http.Request) {
	address, cursor, err := a.person(r, personListing)
	var p engine.PersonPage
	if err == nil {
		p, err = a.service.Person(r.Context(), address, cursor)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	out := personOut{
		Deliveries: make([]personDeliveryOut, len(p.Deliveries)),
		Complete:   p.Next == "", NextCursor: a.cursors.seal(personListing, p.Next),
	}
	if p.Contact != nil {
		out.Contact = contactOut(*p.Contact)
	}
	for i, d := range p.Deliveries {
		out.Deliveries[i] = personDeliveryOut{
			CampaignID: d.CampaignID, CampaignName: d.CampaignName,
			deliveryOut: newDeliveryOut(d.Delivery), Values: d.Values,
		}
	}
	ok(w, out)
}

// erasePerson erases a person. 202 says that the caller has to come again.
func (a *api) erasePerson(w http.ResponseWriter, r *http.Request) {
	address, cursor, err := a.person(r, erasureListing)
	var p engine.ErasurePage
	if err == nil {
		p, err = a.service.ErasePerson(r.Context(), address, cursor)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	out := erasureOut{
		ContactDeleted: p.Contact, RecipientsErased: p.Recipients, Remaining: append([]string{}, p.Remaining...),
		Complete: p.Next == "" && len(p.Remaining) == 0, NextCursor: a.cursors.seal(erasureListing, p.Next),
	}
	status := http.StatusOK
	if !out.Complete {
		status = http.StatusAccepted
	}
	writeJSON(w, status, "application/json", out)
}

// person reads whom a search is for, and where it goes on.
func (a *api) person(r *http.Request, listing string) (address, cursor string, err error) {
	address, err = url.PathUnescape(chi.URLParam(r, "email"))
	if err == nil {
		err = campaign.CheckAddress(address)
	}
	if err != nil {
		return "", "", campaign.Invalid("email", "%s", err)
	}
	p, err := a.page(r, listing, 1)
	return address, p.cursor, err
}
