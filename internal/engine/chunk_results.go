package engine

import (
	"errors"
	"time"

	"postern/internal/campaign"
	"postern/internal/lane"
	"postern/internal/mailer"
)

// take makes of an outcome a result, a deferral, or another try.
func (c *chunk) take(o *lane.Outcome) {
	if o.Err == nil {
		if !c.sent {
			c.sent = true
			c.e.rooms.look() // other campaigns' letters may have waited for this
		}
		c.settle(o.Index, campaign.Delivery{
			State: campaign.DeliverySent, Reply: o.Reply.String(), MessageID: o.MessageID, Digest: o.Digest,
		})
		return
	}
	me, ok := errors.AsType[*mailer.Error](o.Err)
	switch {
	case !ok, errors.Is(me, errLeaseLost), me.Scope == mailer.ScopeRelay && !concernsMessage(me.Stage):
		c.putBack(o.Index)
	case me.Ambiguous && c.intents != nil:
		c.settle(o.Index, campaign.Delivery{State: campaign.DeliveryUnknown, Reply: me.Error(), MessageID: o.MessageID})
	case me.Scope == mailer.ScopeCampaign:
		c.e.campaignStops(c.run, me)
		c.putBack(o.Index)
	case me.Scope != mailer.ScopeRecipient && !me.Ambiguous && c.putBacks[o.Index] < maxPutBacks:
		c.putBacks[o.Index]++
		c.e.metrics.retried(c.run, retryConnection)
		c.putBack(o.Index)
	case me.Temporary || me.Scope == mailer.ScopeSession:
		c.deferOrFail(o, me)
	default:
		c.settle(o.Index, campaign.Delivery{State: campaign.DeliveryFailed, Reply: me.Error(), MessageID: o.MessageID})
	}
}

// concernsMessage: the relay had the recipient or the message before it when
// it failed, so it may be that message that it cannot take.
func concernsMessage(s mailer.Stage) bool {
	return s == mailer.StageRcpt || s == mailer.StageData || s == mailer.StageContent || s == mailer.StageDot
}

// deferOrFail puts a temporarily refused recipient off, unless its time is up.
func (c *chunk) deferOrFail(o *lane.Outcome, me *mailer.Error) {
	d := c.deferred[o.Index]
	d.Index = o.Index
	if c.e.cfg.Retry.exhausted(d.Attempts + 1) {
		c.settle(o.Index, campaign.Delivery{
			State: campaign.DeliveryFailed, Reply: me.Error() + " (given up)", MessageID: o.MessageID,
		})
		return
	}
	c.e.metrics.retried(c.run, retryDeferred)
	d.Attempts++
	d.Next = o.At.Add(c.e.cfg.Retry.delay(d.Attempts))
	d.Reply = cut(me.Error(), campaign.MaxDeferredReplyOctets)
	c.deferred[o.Index] = d
	c.leave(o.Index)
}

// leave notes that the next batch says something new of a recipient besides
// its row.
func (c *chunk) leave(index int) {
	c.moved = true
	if c.intents != nil {
		c.intents.drop(index)
	}
}

// settle completes a delivery that is terminal and queues it to be recorded.
func (c *chunk) settle(index int, d campaign.Delivery) {
	d.Index = index
	d.Address = c.audience.Recipients[index].Address
	d.Person = c.persons.of(d.Address)
	d.Attempts = c.attempts[index] + c.deferred[index].Attempts
	if d.State != campaign.DeliverySuppressed {
		d.Attempts++
	}
	d.Reply = cut(d.Reply, campaign.MaxReplyOctets)
	d.UpdatedAt = c.e.cfg.Now()
	if _, waited := c.deferred[index]; waited || c.intents != nil {
		delete(c.deferred, index)
		c.leave(index)
	}
	if len(c.unsaved) == 0 {
		c.oldest = time.Now()
	}
	c.unsaved = append(c.unsaved, d)
}

// cut shortens s to at most n octets without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
