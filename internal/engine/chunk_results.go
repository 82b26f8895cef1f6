package engine

import (
	"errors"
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
	case !ok || me.Scope == mailer.ScopeRelay || errors.Is(me, errLeaseLost):
		c.ready = append(c.ready, o.index)
	case me.Scope == mailer.ScopeCampaign:
		c.ready = append(c.ready, o.index)
		c.e.failRun(c.run, "relay "+c.run.lane.relay.Addr()+": "+me.Error())
	case me.Scope == mailer.ScopeSession && !me.Ambiguous && c.putBacks[o.index] < maxPutBacks:
		c.putBacks[o.index]++
		c.ready = append(c.ready, o.index)
	case me.Temporary || me.Scope == mailer.ScopeSession:
		c.deferOrFail(o, me)
	default:
		c.settle(o.index, campaign.Delivery{State: campaign.DeliveryFailed, Reply: me.Error(), MessageID: o.messageID})
	}
}

// deferOrFail puts a temporarily refused recipient off, unless its time is up.
func (c *chunk) deferOrFail(o outcome, me *mailer.Error) {
	d := c.deferred[o.index]
	if d.Attempts == 0 {
		d = campaign.Deferred{Index: o.index, First: o.at}
	}
	next := o.at.Add(c.e.cfg.Retry.delay(d.Attempts + 1))
	if next.Sub(d.First) > c.e.cfg.Retry.For {
		c.settle(o.index, campaign.Delivery{
			State: campaign.DeliveryFailed, Reply: me.Error() + " (given up)", MessageID: o.messageID,
		})
		return
	}
	d.Attempts++
	d.Next = next
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
