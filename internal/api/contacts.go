package api

import (
	"cmp"
	"context"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"postern/internal/campaign"
)

// contactsBudget bounds the contacts in one answer, in octets of JSON: API
// Gateway passes answers of 10 MB.
const contactsBudget = 9 << 20

// contactsTimes is how many times its own length a list of contacts takes in
// memory once it is decoded, as measured.
const contactsTimes = 8

const contactsListing = "contacts"

const contactNotFound = "Contact not found"

// contactOut is a contact: its fields and what Postern knows, in one flat
// object.
func contactOut(c campaign.Contact) map[string]any {
	out := make(map[string]any, len(c.Fields)+len(campaign.ReservedFields))
	for name, value := range c.Fields {
		out[name] = value
	}
	tags := c.Tags
	if tags == nil {
		tags = []string{}
	}
	out["email"] = c.Address
	out["tags"] = tags
	out["status"] = c.Status
	out["created_at"] = moment(c.CreatedAt)
	out["updated_at"] = moment(c.UpdatedAt)
	out["email_count"] = c.EmailCount
	out["last_email_sent"] = moment(c.LastEmailSent)
	out["last_campaign"] = orNull(c.LastCampaign)
	return out
}

type contactsOut struct {
	Contacts   []jsontext.Value `json:"contacts"`
	Count      int              `json:"count"`
	NextCursor *string          `json:"next_cursor"`
	// Truncated: the caller set no limit, and there are more contacts than
	// one answer may hold.
	Truncated bool `json:"truncated"`
}

// storedOut is the answer to a change. success is what old clients read.
type storedOut struct {
	Success bool           `json:"success"`
	Count   int            `json:"count"`
	Contact map[string]any `json:"contact,omitempty"`
}

func (a *api) getContacts(w http.ResponseWriter, r *http.Request) {
	address, err := emailParameter(r)
	if err == nil && address != "" {
		a.getContact(w, r, address)
		return
	}
	var p page
	if err == nil {
		p, err = a.page(r, contactsListing, maxPage)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	out, err := a.collectContacts(r.Context(), p, contactsBudget)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	ok(w, out)
}

func (a *api) getContact(w http.ResponseWriter, r *http.Request, address string) {
	contact, err := a.service.Contact(r.Context(), address)
	if err != nil {
		a.fail(w, r, named(err, contactNotFound))
		return
	}
	encoded, err := encode(contactOut(contact))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	ok(w, contactsOut{Contacts: []jsontext.Value{encoded}, Count: 1})
}

// collectContacts gives one page where the caller set a limit, and otherwise
// all contacts; in both cases no more octets than budget, but one contact at
// least.
func (a *api) collectContacts(ctx context.Context, p page, budget int) (contactsOut, error) {
	out := contactsOut{Contacts: []jsontext.Value{}}
	cursor, size := p.cursor, cmp.Or(p.limit, maxPage)
	for more := true; more; {
		contacts, next, err := a.service.Contacts(ctx, cursor, size)
		if err != nil {
			return contactsOut{}, err
		}
		encoded, octets, err := encodeContacts(contacts)
		if err != nil {
			return contactsOut{}, err
		}
		first := len(out.Contacts) == 0
		switch {
		case octets <= budget || first && size == 1:
			out.Contacts = append(out.Contacts, encoded...)
			cursor, budget = next, budget-octets
			more = next != "" && p.limit == 0
		case first:
			size /= 2 // not even the first page fits
		default:
			more = false // this page is for the next call
		}
	}
	out.Count = len(out.Contacts)
	out.NextCursor = a.cursors.seal(contactsListing, cursor)
	out.Truncated = p.limit == 0 && cursor != ""
	return out, nil
}

func encodeContacts(contacts []campaign.Contact) (encoded []jsontext.Value, octets int, err error) {
	encoded = make([]jsontext.Value, len(contacts))
	for i, c := range contacts {
		if encoded[i], err = encode(contactOut(c)); err != nil {
			return nil, 0, err
		}
		octets += len(encoded[i]) + 1 // with its comma
	}
	return encoded, octets, nil
}

func (a *api) postContacts(w http.ResponseWriter, r *http.Request) {
	var in contactsIn
	_, err := readJSON(r, &in)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	changes, err := in.changes()
	if err == nil {
		err = a.service.UpsertContacts(r.Context(), changes)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	ok(w, storedOut{Success: true, Count: len(changes)})
}

func (a *api) putContact(w http.ResponseWriter, r *http.Request) {
	var in contactsIn
	_, err := readJSON(r, &in)
	if err == nil && !in.single {
		err = campaign.Invalid("contacts", "must be one contact here; POST takes many")
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	changes, err := in.changes()
	if err != nil {
		a.fail(w, r, err)
		return
	}
	contact, err := a.service.UpdateContact(r.Context(), changes[0])
	if err != nil {
		a.fail(w, r, named(err, contactNotFound))
		return
	}
	ok(w, storedOut{Success: true, Count: 1, Contact: contactOut(contact)})
}

func (a *api) deleteContact(w http.ResponseWriter, r *http.Request) {
	address, err := emailParameter(r)
	if err == nil && address == "" {
		err = campaign.Invalid("email", "is required")
	}
	if err == nil {
		err = a.service.DeleteContact(r.Context(), address)
	}
	if err != nil {
		a.fail(w, r, named(err, contactNotFound))
		return
	}
	ok(w, storedOut{Success: true, Count: 1})
}

// emailParameter reads ?email=; "" where it is not given. No address has a
// space: it was a plus that the caller did not encode.
func emailParameter(r *http.Request) (string, error) {
	q, err := readQuery(r)
	if err != nil {
		return "", err
	}
	address, err := q.one("email")
	if err != nil || address == "" {
		return "", err
	}
	address = strings.ReplaceAll(address, " ", "+")
	if err := campaign.CheckAddress(address); err != nil {
		return "", campaign.Invalid("email", "%s", err)
	}
	return address, nil
}
