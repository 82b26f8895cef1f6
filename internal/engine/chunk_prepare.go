package engine

import (
	"context"
	"slices"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// prepare reads the audience, sorts out who is to be mailed now, and settles
// those who must not be mailed any more. The chunk was due at a time that is
// past, whatever the wall clock says now.
func (c *chunk) prepare(ctx context.Context, due time.Time) error {
	c.ahead = max(due.Sub(c.e.cfg.Now()), 0)
	lease := c.hold.current()
	packed, err := c.e.store.GetAudience(ctx, lease.Key)
	if err != nil {
		return err
	}
	if c.persons, err = newPersons(c.e.sealer, c.e.sealer.KeyIDs()[0], c.run.campaign.ID); err != nil {
		return err
	}
	if c.audience, err = campaign.UnpackAudience(packed); err != nil {
		return err
	}
	for _, d := range c.progress.Deferred {
		c.deferred[d.Index] = d
	}
	if lease.Fence > 1 {
		if err := c.recall(ctx, lease); err != nil {
			return err
		}
	}
	open, err := c.suppress(ctx, c.open(c.e.cfg.Now().Add(c.ahead)))
	if err != nil {
		return err
	}
	if c.intents != nil {
		c.intents.propose(open)
		return nil
	}
	c.ready = open
	return nil
}

// open lists the recipients that may be tried now, the last one first: the end
// of the list is taken first. Those that an earlier holder may have had under
// way in an at-most-once campaign are settled as unknown instead.
func (c *chunk) open(now time.Time) (open []int) {
	for i := range slices.Backward(c.audience.Recipients) {
		d, waits := c.deferred[i]
		switch {
		case c.progress.Settled.Has(i):
		case c.intents != nil && c.progress.Intents.Has(i):
			c.intents.inherit(i)
			c.settle(i, campaign.Delivery{
				State: campaign.DeliveryUnknown,
				Reply: "a task ended while the message may have been under way; it was not sent again",
			})
		case c.audience.Recipients[i].Erased():
			c.settle(i, campaign.Delivery{State: campaign.DeliverySuppressed, Reply: "the person's data was erased"})
		case !waits || !d.Next.After(now):
			open = append(open, i)
		}
	}
	return open
}

// recall reads what earlier holders have recorded of those who are open: the
// attempts before a retry.
func (c *chunk) recall(ctx context.Context, lease store.Lease) error {
	rows, err := c.e.store.Deliveries(ctx, lease.Key)
	if err != nil {
		return err
	}
	for _, d := range rows {
		if !c.progress.Settled.Has(d.Index) {
			c.attempts[d.Index] = d.Attempts
		}
	}
	return nil
}

// suppress settles those who may not be mailed as of now, and gives the
// others: consent can be withdrawn, and a contact erased, between freezing and
// sending.
func (c *chunk) suppress(ctx context.Context, open []int) ([]int, error) {
	keys := make([]string, len(open))
	for i, index := range open {
		keys[i] = campaign.Key(c.audience.Recipients[index].Address)
	}
	status, err := c.statuses(ctx, keys)
	if err != nil {
		return nil, err
	}
	mailable := open[:0]
	for i, index := range open {
		switch s, there := status[keys[i]]; {
		case !there:
			c.settle(index, campaign.Delivery{State: campaign.DeliverySuppressed, Reply: "the contact was deleted"})
		case s != campaign.ContactActive:
			c.settle(index, campaign.Delivery{State: campaign.DeliverySuppressed, Reply: "the contact is " + string(s)})
		case !c.e.cfg.Policy.maySendTo(c.audience.Recipients[index].Address):
			c.settle(index, campaign.Delivery{State: campaign.DeliverySuppressed, Reply: outsideDomains})
		default:
			mailable = append(mailable, index)
		}
	}
	return mailable, nil
}

// statuses gives the statuses of the contacts of these keys that are there. A
// chunk of all contacts is a piece of their listing, which takes less to read
// again than contact by contact; what has come between them is in the way of
// a few at its end, who are read by themselves.
func (c *chunk) statuses(ctx context.Context, keys []string) (map[string]campaign.ContactStatus, error) {
	status := map[string]campaign.ContactStatus{}
	all, selection := c.audience.Recipients, c.run.campaign.Audience
	if len(selection.Tags)+len(selection.Addresses) == 0 && len(keys) > len(all)/2 {
		var err error
		if status, err = c.e.store.StatusesAfter(ctx, campaign.Key(all[0].Address), len(all)); err != nil {
			return nil, err
		}
	}
	rest := slices.DeleteFunc(slices.Clone(keys), func(key string) bool {
		_, known := status[key]
		return known || key == "" // of a person who was erased
	})
	if len(rest) == 0 {
		return status, nil
	}
	contacts, err := c.e.store.GetContacts(ctx, rest)
	for i := range contacts {
		status[contacts[i].Key()] = contacts[i].Status
	}
	return status, err
}
