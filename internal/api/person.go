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
	NamedIn    []string            `json:"named_in"`
	Incomplete []string            `json:"incomplete"`
	Damaged    []string            `json:"damaged"` // of Incomplete
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
	Damaged          []string `json:"damaged"` // of Remaining
	Complete         bool     `json:"complete"`
	NextCursor       *string  `json:"next_cursor"`
}

// getPerson exports what is known of a person.
func (a *api) getPerson(w http.ResponseWriter, r *http.Request) {
	q, err := a.person(r, personListing)
	var p engine.PersonPage
	if err == nil {
		p, err = a.service.Person(r.Context(), q.address, q.cursor)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	out := personOut{
		Deliveries: make([]personDeliveryOut, len(p.Deliveries)),
		NamedIn:    append([]string{}, p.NamedIn...), Incomplete: append([]string{}, p.Incomplete...), Damaged: append([]string{}, p.Damaged...),
		Complete: p.Next == "" && !p.Left, NextCursor: a.cursors.seal(q.listing, p.Next),
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
	q, err := a.person(r, erasureListing)
	var p engine.ErasurePage
	if err == nil {
		p, err = a.service.ErasePerson(r.Context(), q.address, q.cursor)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	out := erasureOut{
		ContactDeleted: p.Contact, RecipientsErased: p.Recipients, Remaining: append([]string{}, p.Remaining...),
		Damaged: append([]string{}, p.Damaged...), Complete: p.Next == "" && !p.Left, NextCursor: a.cursors.seal(q.listing, p.Next),
	}
	status := http.StatusOK
	if !out.Complete {
		status = http.StatusAccepted
	}
	writeJSON(w, status, "application/json", out)
}

// personQuery is whom a search is for, and where it goes on.
type personQuery struct {
	address string
	cursor  string // the service's
	listing string // the search's name for cursors, which the person is in
}

// person reads a search's query. A cursor of another person's search would pass
// campaigns over that nobody has searched for this one.
func (a *api) person(r *http.Request, listing string) (personQuery, error) {
	address, err := pathValue(r, "email")
	if err == nil {
		err = campaign.CheckAddress(address)
	}
	if err != nil {
		return personQuery{}, campaign.Invalid("email", "%s", err)
	}
	q := personQuery{address: address, listing: listing + " " + campaign.Key(address)}
	p, err := a.page(r, q.listing, 1)
	q.cursor = p.cursor
	return q, err
}

// pathValue gives a part of the path that chi has matched: in the path as it
// was sent where that is not how Go would write it, else in the decoded one.
func pathValue(r *http.Request, name string) (string, error) {
	value := chi.URLParam(r, name)
	if r.URL.RawPath == "" {
		return value, nil
	}
	return url.PathUnescape(value)
}
