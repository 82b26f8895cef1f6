package engine

import (
	"context"
	"errors"

	"postern/internal/campaign"
)

// UpsertContacts checks all changes, then makes them. CodeInvalid names the
// faults of all of them with their index, and then none is made.
func (e *Engine) UpsertContacts(ctx context.Context, changes []campaign.ContactChange) error {
	return e.store.UpsertContacts(ctx, changes, e.cfg.Now())
}

// UpdateContact changes a contact that is there. CodeNotFound.
func (e *Engine) UpdateContact(ctx context.Context, change campaign.ContactChange) (campaign.Contact, error) {
	return e.store.UpdateContact(ctx, change, e.cfg.Now())
}

// DeleteContact takes a contact away. Campaigns under way do not mail it any
// more once the chunk that it is in is leased anew. CodeNotFound.
func (e *Engine) DeleteContact(ctx context.Context, address string) error {
	return e.store.DeleteContact(ctx, campaign.Key(address))
}

// Contact gives one contact. CodeNotFound.
func (e *Engine) Contact(ctx context.Context, address string) (campaign.Contact, error) {
	found, err := e.store.GetContacts(ctx, []string{campaign.Key(address)})
	if err != nil {
		return campaign.Contact{}, err
	}
	if len(found) == 0 {
		return campaign.Contact{}, campaign.Errorf(campaign.CodeNotFound, "Contact not found")
	}
	return found[0], nil
}

// Contacts lists contacts page by page; see store.Contacts.
func (e *Engine) Contacts(ctx context.Context, cursor string, limit int) ([]campaign.Contact, string, error) {
	return e.store.ListContacts(ctx, cursor, limit)
}

// Ready says whether the engine could work: whether the store answers.
func (e *Engine) Ready(ctx context.Context) error { return e.store.Ping(ctx) }

func asCampaignError(err error) (*campaign.Error, bool) { return errors.AsType[*campaign.Error](err) }
