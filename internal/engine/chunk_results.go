package engine

import (
	"errors"
	"slices"
	"time"

	"postern/internal/campaign"
	"postern/internal/mailer"
)

// take makes of an outcome a result, a deferral, or another try.
func (c *chunk) take(o outcome) {
	if o.err == nil {
		c.e.window.add()
		c.sent = append(c.sent, campaign.Key(c.audience.Recipients[o.index].Address))
		c.settle(o.index, campaign.Delivery{State: campaign.DeliverySent, Reply: o.reply.String(), MessageID: o.messageID})
		return
	}
	me, ok := errors.AsType[*mailer.Error](o.err)
	switch {
	case !ok || errors.Is(me, errLeaseLost) || me.Scope == mailer.ScopeRelay && !concernsMessage(me.Stage):
		c.putBack(o.index)
	case me.Scope == mailer.ScopeCampaign:
		c.putBack(o.index)
		c.campaignFails(me)
	case me.Scope != mailer.ScopeRecipient && !me.Ambiguous && c.putBacks[o.index] < maxPutBacks:
		c.putBacks[o.index]++
		c.putBack(o.index)
	case me.Temporary || me.Scope == mailer.ScopeSession:
		c.deferOrFail(o, me)
	default:
		c.settle(o.index, campaign.Delivery{State: campaign.DeliveryFailed, Reply: me.Error(), MessageID: o.messageID})
	}
}

// concernsMessage: the relay had the recipient or the message before it when
// it failed, so it may be that message that it cannot take.
func concernsMessage(s mailer.Stage) bool {
	return s == mailer.StageRcpt || s == mailer.StageData || s == mailer.StageContent || s == mailer.StageDot
}

// putBack queues a recipient behind the others, so that one whom the relay
// stumbles over does not stand in their way.
func (c *chunk) putBack(index int) { c.ready = slices.Insert(c.ready, 0, index) }

// campaignFails makes a failure that concerns all recipients durable.
func (c *chunk) campaignFails(me *mailer.Error) {
	c.e.failRun(c.run, "relay "+c.run.lane.relay.Addr()+": "+me.Error())
}

// deferOrFail puts a temporarily refused recipient off, unless its time is up.
func (c *chunk) deferOrFail(o outcome, me *mailer.Error) {
	d := c.deferred[o.index]
	d.Index = o.index
	if c.e.cfg.Retry.exhausted(d.Attempts + 1) {
		c.settle(o.index, campaign.Delivery{
			State: campaign.DeliveryFailed, Reply: me.Error() + " (given up)", MessageID: o.messageID,
		})
		return
	}
	d.Attempts++
	d.Next = o.at.Add(c.e.cfg.Retry.delay(d.Attempts))
	d.Reply = cut(me.Error(), campaign.MaxDeferredReplyOctets)
	c.deferred[o.index] = d
	c.moved = true
}

// settle completes a delivery that is terminal and queues it to be recorded.
func (c *chunk) settle(index int, d campaign.Delivery) {
	d.Index = index
	d.Address = c.audience.Recipients[index].Address
	d.Attempts = c.deferred[index].Attempts
	if d.State != campaign.DeliverySuppressed {
		d.Attempts++
	}
	d.Reply = cut(d.Reply, campaign.MaxReplyOctets)
	d.UpdatedAt = c.e.cfg.Now()
	if _, waited := c.deferred[index]; waited {
		delete(c.deferred, index)
		c.moved = true
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
