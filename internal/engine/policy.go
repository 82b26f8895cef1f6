package engine

import (
	"fmt"
	"slices"
	"strings"

	"postern/internal/campaign"
)

// Policy limits who may be sent to, as whom, and how many. The zero value sets
// no limit. It holds for what is sent and not only for what is accepted: a
// campaign that was handed in under another policy is held to this one.
type Policy struct {
	// RecipientDomains are the domains (in lower case, ASCII) that may be sent
	// to, with all below them where they begin with a dot; none for all.
	RecipientDomains []string
	// Senders are addresses, and domains as "@example.org", in lower case, that
	// may stand in From and Reply-To; none for all.
	Senders []string
	// MaxRecipients of one campaign, those included who may not be mailed at
	// the moment; 0 for no limit.
	MaxRecipients int
	// DailyRecipients of all campaigns that begin in one UTC day, or are resumed
	// or retried in it, of all tasks together; 0 for no limit.
	DailyRecipients int
}

// outsideDomains is the reply that stands for a recipient whom the policy does
// not let be mailed.
const outsideDomains = "the domain is not among RECIPIENT_DOMAINS"

// The rules as callers are told them.
const (
	senderRule = "must be one of SENDERS, by which this service limits who may send"
	domainRule = "must be in a domain of RECIPIENT_DOMAINS"
)

// maySendTo says whether a recipient's domain is allowed. What counts is the
// domain as it goes over the wire: an internationalised name, or one in other
// characters of the same meaning, is the domain that it is mapped to.
func (p Policy) maySendTo(address string) bool {
	if len(p.RecipientDomains) == 0 {
		return true
	}
	if campaign.CheckAddress(address) != nil {
		return false
	}
	domain := campaign.Domain(campaign.Key(address))
	return slices.ContainsFunc(p.RecipientDomains, func(allowed string) bool {
		below := strings.HasPrefix(allowed, ".")
		return domain == strings.TrimPrefix(allowed, ".") || below && strings.HasSuffix(domain, allowed)
	})
}

// mayStandIn says whether an address may stand in From or Reply-To, again by
// its form on the wire. What is no address at all is for the letter to refuse.
func (p Policy) mayStandIn(address string) bool {
	if len(p.Senders) == 0 || campaign.CheckAddress(address) != nil {
		return true
	}
	key := campaign.Key(address)
	return slices.Contains(p.Senders, key) || slices.Contains(p.Senders, "@"+campaign.Domain(key))
}

// checkSender says whether a campaign may be sent from one address and have its
// answers go to another, "" for none: to whom answers go is as good as who
// wrote. CodeInvalid.
func (p Policy) checkSender(from, replyTo string) error {
	var faults []campaign.Fault
	if !p.mayStandIn(from) {
		faults = append(faults, campaign.Fault{Field: "from_email", Rule: senderRule})
	}
	if !p.mayStandIn(replyTo) {
		faults = append(faults, campaign.Fault{Field: "reply_to", Rule: senderRule})
	}
	if len(faults) > 0 {
		return campaign.InvalidAll(faults)
	}
	return nil
}

// faults gives what a submission breaks of the policy. Of several recipients
// outside the domains it names the first.
func (p Policy) faults(s Submission) (faults []campaign.Fault) {
	if ce, broken := asCampaignError(p.checkSender(s.From.Address, s.ReplyTo.Address)); broken {
		faults = append(faults, ce.Faults...)
	}
	first := slices.IndexFunc(s.Audience.Addresses, func(a string) bool { return !p.maySendTo(a) })
	if first >= 0 {
		faults = append(faults, campaign.Fault{
			Field: fmt.Sprintf("recipients[%d]", first), Rule: domainRule,
		})
	}
	if most := p.MaxRecipients; most > 0 && len(s.Audience.Addresses) > most {
		faults = append(faults, campaign.Fault{Field: "recipients", Rule: fmt.Sprintf("must be at most %d (MAX_RECIPIENTS)", most)})
	}
	return faults
}
