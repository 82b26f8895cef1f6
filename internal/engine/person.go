package engine

import (
	"context"
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
	// NamedIn are campaigns whose selection names the person.
	NamedIn []string
	// Incomplete are campaigns of which not all could be told: their audience is
	// being frozen or forgotten at this moment, or cannot be read.
	Incomplete []string
	// Damaged are those of Incomplete whose records cannot be read: to search
	// again is of no use before somebody has mended them.
	Damaged []string
	// Left: there was an Incomplete one, here or on an earlier page.
	Left bool
	Next string // where to go on; "" when all was searched
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
	// Remaining are campaigns that may freeze or mail the person's chunk at this
	// very moment, and nobody is erased there before they have ended or are
	// stopped; that are about to forget all their recipients; or that cannot be
	// read.
	Remaining []string
	// Damaged are those of Remaining whose records cannot be read, as in
	// PersonPage.
	Damaged []string
	// Left: there was a Remaining one, here or on an earlier page.
	Left bool
	Next string // where to go on; "" when all was searched
}

// Person searches for all that is known of a person, as far as it gets within
// some seconds: there is no index from persons to campaigns, for it would cost
// as much as the records themselves. CodeInvalid for a cursor that is not of
// this search; whose it is the caller has to see to.
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
	s := search{e: e, key: key}
	s.visit = func(ctx context.Context, f finding) error {
		d, err := e.personDelivery(ctx, f)
		if err == nil {
			p.Deliveries = append(p.Deliveries, d)
		}
		return err
	}
	s.named = func(_ context.Context, id string) error {
		p.NamedIn = append(p.NamedIn, id)
		return nil
	}
	var err error
	p.Next, err = s.run(ctx, cursor)
	p.Incomplete, p.Damaged, p.Left = s.left, s.damaged, s.at.left
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
// not of this search; whose it is the caller has to see to.
func (e *Engine) ErasePerson(ctx context.Context, address, cursor string) (ErasurePage, error) {
	var p ErasurePage
	key := campaign.Key(address)
	switch err := e.store.DeleteContact(ctx, key); {
	case err == nil:
		p.Contact = true
	case campaign.CodeOf(err) != campaign.CodeNotFound:
		return ErasurePage{}, err
	}
	s := search{e: e, key: key}
	s.visit = func(ctx context.Context, f finding) error {
		erased, err := e.eraseRecipient(ctx, f.chunk, key)
		if erased {
			p.Recipients++
		} else if err == nil {
			s.leave(f.campaign.ID)
		}
		return err
	}
	s.named = func(ctx context.Context, id string) error { return e.store.EraseAddress(ctx, id, key) }
	var err error
	p.Next, err = s.run(ctx, cursor)
	p.Remaining, p.Damaged, p.Left = s.left, s.damaged, s.at.left
	e.logFor(ctx).Info().Int("recipients", p.Recipients).Int("remaining", len(p.Remaining)).
		Bool("complete", err == nil && p.Next == "" && !p.Left).Msg("a person's data was erased")
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
