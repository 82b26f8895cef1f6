package audit

import (
	"crypto/ed25519"

	"postern/internal/campaign"
)

// log checks a campaign's own chain, and gathers from the chunks what its roots
// must say.
type log struct {
	report *Report
	keys   []ed25519.PublicKey
	chain  chain
	// status is what the campaign has become by the events so far.
	status campaign.Status
	// expired: its rows were removed when their time was over. erased are the
	// persons who were taken out of them. Both only where the service has signed
	// the event: otherwise whoever can write the store could excuse by them what
	// he has removed.
	expired bool
	erased  map[campaign.Person]bool
	// signed is the number of the last link that is a root or a signed event.
	signed int64
	roots  []root
}

// root is a root in the campaign's chain, with what the chunks say of it.
type root struct {
	link   int64
	stated campaign.Root
	tree   Tree
	sums   campaign.Totals
	// broken: a chunk has said already that it is not as the root says.
	broken bool
}

func (l *log) link(line LinkLine) {
	before := l.chain.end
	l.report.Events++
	sound := l.chain.follow(line)
	e, err := campaign.DecodeEvent(line.Payload)
	if err != nil {
		if sound {
			l.chain.fault(line.Link, "its payload is no event")
		}
		return
	}
	l.event(line, e, sound)
	l.excuse(line, e, before)
	if e.Root != nil {
		l.root(line, e, before)
	}
}

func (l *log) event(line LinkLine, e campaign.Event, sound bool) {
	if e.To != "" {
		if sound && line.Link > 1 && e.From != l.status {
			l.chain.fault(line.Link, "the campaign went from %q to %q, and was %q before", e.From, e.To, l.status)
		}
		l.status = e.To
	}
}

// excuse takes in an event that says why something is not there any more.
func (l *log) excuse(line LinkLine, e campaign.Event, before campaign.Chain) {
	if e.Action != campaign.ActionErased && e.Action != campaign.ActionExpired {
		return
	}
	if !EventSigned(l.keys, Place{CampaignID: l.chain.campaignID, At: e.At, Before: before}, e) {
		l.chain.fault(line.Link, "it says %q, and is not signed by one of the keys at hand", e.Action)
		return
	}
	l.signed = line.Link
	if e.Action == campaign.ActionExpired {
		l.expired = true
		return
	}
	if l.erased == nil {
		l.erased = map[campaign.Person]bool{}
	}
	l.erased[e.Person] = true
}

func (l *log) root(line LinkLine, e campaign.Event, before campaign.Chain) {
	l.report.Roots++
	l.report.Root = campaign.Link{Number: line.Link, Hash: line.Hash, Payload: line.Payload}
	place := Place{CampaignID: l.chain.campaignID, At: e.At, Before: before}
	if !Signed(l.keys, place, *e.Root) {
		l.chain.fault(line.Link, "the root's signature, by key %s, is not one of the keys at hand over what it says", e.Root.Key)
	}
	l.signed = line.Link
	l.roots = append(l.roots, root{link: line.Link, stated: *e.Root})
}

// finish checks the chain's end.
func (l *log) finish(c CampaignLine) {
	l.chain.ends(c.Links, c.Head)
	if !l.chain.broken && l.status != c.Status {
		l.chain.fault(c.Links, "the campaign is %q, and by its events %q", c.Status, l.status)
	}
}

// covered is how many links of a chunk the last root covers.
func (l *log) covered(chunk int) int64 {
	if len(l.roots) == 0 {
		return 0
	}
	return l.roots[len(l.roots)-1].links(chunk)
}

// links is how many links of a chunk the root covers.
func (r *root) links(chunk int) int64 {
	if chunk > len(r.stated.Links) {
		return 0
	}
	return r.stated.Links[chunk-1]
}

// joins gives the roots that cover a chunk as far as it is.
func (l *log) joins(chunk int, c campaign.Chain, counts campaign.Totals) {
	for i := range l.roots {
		r := &l.roots[i]
		if chunk > len(r.stated.Links) || r.links(chunk) != c.Links {
			continue
		}
		r.tree.Add(chunk, c)
		r.sums.Total += counts.Total
		r.sums.Sent += counts.Sent
		r.sums.Failed += counts.Failed
		r.sums.Unknown += counts.Unknown
		r.sums.Suppressed += counts.Suppressed
	}
}

// missing says of a chunk that ends before the roots say that it does.
func (l *log) missing(chunk int, c campaign.Chain) {
	for i := range l.roots {
		if r := &l.roots[i]; r.links(chunk) > c.Links && !r.broken {
			r.broken = true
			l.report.problem(chunk, c.Links+1, "the link is missing: the root in link %d of the campaign's chain has signed %d links of the chunk",
				r.link, r.links(chunk))
		}
	}
}

// checkRoots compares the roots with the chunks, when all have been seen.
func (l *log) checkRoots(chunks int) {
	for i := range l.roots {
		r := &l.roots[i]
		s, sums := r.stated, r.sums
		switch {
		case r.broken:
		case len(s.Links) > chunks:
			l.report.problem(chunks+1, 0, "the chunk is missing: the root in link %d of the campaign's chain has signed %d chunks", r.link, len(s.Links))
		case r.tree.Root() != s.Merkle:
			l.report.problem(0, r.link, "the chunks' chains are not those that the root has signed")
		case sums.Total != s.Total || sums.Sent != s.Sent || sums.Failed != s.Failed || sums.Unknown != s.Unknown || sums.Suppressed != s.Suppressed:
			l.report.problem(0, r.link, "the root counts %d recipients, %d sent, %d failed, %d unknown, %d suppressed; the records %d, %d, %d, %d, %d",
				s.Total, s.Sent, s.Failed, s.Unknown, s.Suppressed, sums.Total, sums.Sent, sums.Failed, sums.Unknown, sums.Suppressed)
		}
	}
}
