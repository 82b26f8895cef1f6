package engine

import (
	"context"
	"slices"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// prepare reads the audience and the letter, sorts out who is to be mailed now, and settles
// those who must not be mailed any more. The chunk was due at a time that is
// past, whatever the wall clock says now.
func (c *chunk) prepare(ctx context.Context, due time.Time) error {
	c.ahead = max(due.Sub(c.e.cfg.Now()), 0)
	lease := c.hold.current()
	packed, err := c.e.store.GetAudience(ctx, lease.Key)
	if err != nil {
		return err
	}
	if c.letter, err = c.e.letterOfRun(c.run); err != nil {
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
		case !waits || !d.Next.After(now):
			open = append(open, i)
		}
	}
	return open
}

// recall reads what earlier holders have recorded: whom they have sent to, for
// the statistics at the end, and the attempts before a retry.
func (c *chunk) recall(ctx context.Context, lease store.Lease) error {
	rows, err := c.e.store.Deliveries(ctx, lease.Key)
	if err != nil {
		return err
	}
	for _, d := range rows {
		switch {
		case !c.progress.Settled.Has(d.Index):
			c.attempts[d.Index] = d.Attempts
		case d.State == campaign.DeliverySent && !c.progress.Counted.Has(d.Index):
			c.sent = append(c.sent, campaign.Key(d.Address))
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
	contacts, err := c.e.store.GetContacts(ctx, keys)
	if err != nil {
		return nil, err
	}
	status := make(map[string]campaign.ContactStatus, len(contacts))
	for i := range contacts {
		status[contacts[i].Key()] = contacts[i].Status
	}
	mailable := open[:0]
	for i, index := range open {
		switch s, there := status[keys[i]]; {
		case !there:
			c.settle(index, campaign.Delivery{State: campaign.DeliverySuppressed, Reply: "the contact was deleted"})
		case s != campaign.ContactActive:
			c.settle(index, campaign.Delivery{State: campaign.DeliverySuppressed, Reply: "the contact is " + string(s)})
		default:
			mailable = append(mailable, index)
		}
	}
	return mailable, nil
}
