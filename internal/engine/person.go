package engine

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// searchFor bounds how long one call searches: API Gateway waits 29 s for the
// answer.
const searchFor = 15 * time.Second

// eraseTries is how often a chunk is read anew that others change meanwhile.
const eraseTries = 5

// PersonPage is a part of what is known of a person.
type PersonPage struct {
	Contact    *campaign.Contact // on the first page; nil where there is none
	Deliveries []PersonDelivery
	Next       string // where to go on; "" when all was searched
}

// PersonDelivery is what became of a person in a campaign.
type PersonDelivery struct {
	CampaignID, CampaignName string
	campaign.Delivery
	// Values are the fields that the letter used, as they were when the
	// audience was frozen.
	Values map[string]string
}

// ErasurePage is a part of the erasing of a person.
type ErasurePage struct {
	Contact    bool // the contact was there and was deleted
	Recipients int  // places in campaigns that were erased
	// Remaining are campaigns that may mail the person's chunk at this very
	// moment: nobody is erased there before they have ended or are stopped.
	Remaining []string
	Next      string // where to go on; "" when all was searched
}

// Person searches for all that is known of a person, as far as it gets within
// some seconds: there is no index from persons to campaigns, for it would cost
// as much as the records themselves. CodeInvalid for a cursor that is not of
// this search.
func (e *Engine) Person(ctx context.Context, address, cursor string) (PersonPage, error) {
	var p PersonPage
	key := campaign.Key(address)
	if cursor == "" {
		found, err := e.store.GetContacts(ctx, []string{key})
		if err != nil {
			return PersonPage{}, err
		}
		if len(found) > 0 {
			p.Contact = &found[0]
		}
	}
	s := search{store: e.store, key: key, visit: func(ctx context.Context, f finding) error {
		d, err := e.personDelivery(ctx, f)
		p.Deliveries = append(p.Deliveries, d)
		return err
	}}
	var err error
	p.Next, err = s.run(ctx, cursor)
	return p, err
}

func (e *Engine) personDelivery(ctx context.Context, f finding) (PersonDelivery, error) {
	all, err := e.chunkDeliveries(ctx, f.chunk, "")
	if err != nil {
		return PersonDelivery{}, err
	}
	d := PersonDelivery{CampaignID: f.campaign.ID, CampaignName: f.campaign.Name, Delivery: all[f.index], Values: map[string]string{}}
	for i, field := range f.audience.Fields {
		d.Values[field] = f.audience.Recipients[f.index].Values[i]
	}
	return d, nil
}

// ErasePerson deletes the contact, and takes the person out of all campaigns
// in which nobody works, as far as it gets within some seconds. What stays is
// how many were mailed, when, and the digests of what they got. It is for the
// caller to call again where campaigns remain. CodeInvalid for a cursor that is
// not of this search.
func (e *Engine) ErasePerson(ctx context.Context, address, cursor string) (ErasurePage, error) {
	var p ErasurePage
	key := campaign.Key(address)
	switch err := e.store.DeleteContact(ctx, key); {
	case err == nil:
		p.Contact = true
	case campaign.CodeOf(err) != campaign.CodeNotFound:
		return ErasurePage{}, err
	}
	s := search{store: e.store, key: key, visit: func(ctx context.Context, f finding) error {
		erased, err := e.eraseRecipient(ctx, f.chunk, key)
		if erased {
			p.Recipients++
		} else if err == nil && !slices.Contains(p.Remaining, f.campaign.ID) {
			p.Remaining = append(p.Remaining, f.campaign.ID)
		}
		return err
	}}
	s.named = func(ctx context.Context, c campaign.Campaign) error {
		err := e.store.EraseAddresses(ctx, c.ID)
		if campaign.CodeOf(err) == campaign.CodeConflict {
			if !slices.Contains(p.Remaining, c.ID) {
				p.Remaining = append(p.Remaining, c.ID)
			}
			return nil
		}
		return err
	}
	var err error
	p.Next, err = s.run(ctx, cursor)
	e.logFor(ctx).Info().Int("recipients", p.Recipients).Int("remaining", len(p.Remaining)).
		Bool("complete", err == nil && p.Next == "" && len(p.Remaining) == 0).Msg("a person's data was erased")
	return p, err
}

// eraseRecipient takes a person out of a chunk, unless somebody may be at work
// on it. The lease is read first: what changes the audience changes it, too.
func (e *Engine) eraseRecipient(ctx context.Context, chunk store.LeaseKey, key string) (erased bool, err error) {
	for range eraseTries {
		lease, err := e.store.GetLease(ctx, chunk)
		if err != nil || !lease.Closed {
			return false, err
		}
		audience, err := readAudience(ctx, e.store, chunk)
		if err != nil {
			return false, err
		}
		index := audience.Find(key)
		if index < 0 {
			return true, nil // by somebody else meanwhile
		}
		if err := e.noteErasure(ctx, chunk.CampaignID, key); err != nil {
			return false, err
		}
		_, err = e.store.EraseRecipient(ctx, lease, store.Erasure{Index: index, Packed: audience.Without(index).Pack()})
		if campaign.CodeOf(err) != campaign.CodeConflict {
			return err == nil, err
		}
	}
	return false, nil
}

// search looks for a person in all campaigns, newest first.
type search struct {
	store store.Store
	key   string
	visit func(context.Context, finding) error
	// named is called for a campaign whose selection names the person, behind
	// its chunks; it may be nil.
	named func(context.Context, campaign.Campaign) error
}

// finding is a person's place in a campaign.
type finding struct {
	campaign campaign.Campaign
	chunk    store.LeaseKey
	audience campaign.Audience
	index    int
}

// spot is where a search goes on: in a chunk of a campaign, which the listing
// gives at a cursor. A campaign that was made since moves the first place.
type spot struct {
	chunk    int
	campaign string
	listing  string
}

func (s spot) String() string { return strconv.Itoa(s.chunk) + ":" + s.campaign + ":" + s.listing }

func parseSpot(cursor string) (spot, error) {
	if cursor == "" {
		return spot{chunk: 1}, nil
	}
	parts := strings.SplitN(cursor, ":", 3)
	if len(parts) == 3 {
		if chunk, err := strconv.Atoi(parts[0]); err == nil && chunk > 0 {
			return spot{chunk, parts[1], parts[2]}, nil
		}
	}
	return spot{}, campaign.Invalid("cursor", "is not one of this search's")
}

// run searches for some seconds, one chunk at least, and gives where to go on.
func (s search) run(ctx context.Context, cursor string) (next string, err error) {
	at, err := parseSpot(cursor)
	if err != nil {
		return "", err
	}
	began := time.Now()
	for {
		page, following, err := s.store.ListCampaigns(ctx, at.listing, 1)
		if err != nil {
			return "", err
		}
		for _, c := range page {
			if at.campaign != c.ID {
				at.campaign, at.chunk = c.ID, 1
			}
			done, err := s.campaign(ctx, c, &at, began)
			if err != nil || !done {
				return at.String(), err
			}
		}
		if following == "" {
			return "", nil
		}
		at = spot{chunk: 1, listing: following}
	}
}

// campaign searches a campaign's chunks from at.chunk on, which it moves; done
// is false when the time is over before.
func (s search) campaign(ctx context.Context, c campaign.Campaign, at *spot, began time.Time) (done bool, err error) {
	control, err := s.store.GetLease(ctx, store.LeaseKey{CampaignID: c.ID})
	if err != nil {
		return true, err
	}
	for first := true; at.chunk <= control.Freeze.Chunks && c.ExpiredAt.IsZero(); first = false {
		if !first && time.Since(began) > searchFor {
			return false, nil
		}
		f := finding{campaign: c, chunk: store.LeaseKey{CampaignID: c.ID, Number: at.chunk}}
		if f.audience, err = readAudience(ctx, s.store, f.chunk); err != nil {
			return true, err
		}
		if f.index = f.audience.Find(s.key); f.index >= 0 {
			if err := s.visit(ctx, f); err != nil {
				return true, err
			}
		}
		at.chunk++
	}
	isNamed := func(address string) bool { return campaign.Key(address) == s.key }
	if s.named != nil && slices.ContainsFunc(c.Audience.Addresses, isNamed) {
		return true, s.named(ctx, c)
	}
	return true, nil
}

func readAudience(ctx context.Context, s store.Store, chunk store.LeaseKey) (campaign.Audience, error) {
	packed, err := s.GetAudience(ctx, chunk)
	if err != nil {
		return campaign.Audience{}, err
	}
	audience, err := campaign.UnpackAudience(packed)
	if err != nil {
		return campaign.Audience{}, campaign.Wrap(campaign.CodeInternal, err, "the campaign's audience cannot be read")
	}
	return audience, nil
}
