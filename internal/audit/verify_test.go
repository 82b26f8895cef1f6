package audit_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"postern/internal/audit"
	"postern/internal/campaign"
)

type states = map[int]campaign.DeliveryState

const (
	sent       = campaign.DeliverySent
	failed     = campaign.DeliveryFailed
	unknown    = campaign.DeliveryUnknown
	suppressed = campaign.DeliverySuppressed
)

// course is a campaign of two chunks with all that may happen to one: a pause
// with its root, a completion with its root, a retry, and its root.
func course() *trail {
	tr := newTrail(5, 3)
	tr.record(1, states{0: sent, 1: failed})
	tr.become(campaign.StatusPaused)
	tr.root(signer)
	tr.event(campaign.Event{Action: campaign.ActionRestarted, From: campaign.StatusPaused, To: campaign.StatusInProgress})
	tr.record(1, states{2: suppressed, 3: unknown})
	tr.record(1, states{4: unknown})
	tr.lateSent(1, 4)
	tr.record(2, states{0: sent, 1: sent, 2: failed})
	tr.become(campaign.StatusCompleted)
	tr.root(signer)
	tr.event(campaign.Event{
		Action: campaign.ActionRestarted, From: campaign.StatusCompleted, To: campaign.StatusInProgress, States: []campaign.DeliveryState{failed},
	})
	tr.reopen(1, 1)
	tr.reopen(2, 2)
	tr.record(1, states{1: sent})
	tr.record(2, states{2: failed})
	tr.become(campaign.StatusCompleted)
	tr.root(signer)
	tr.status = campaign.StatusCompleted
	return tr
}

// lateSent is a message that is acknowledged after it was given up as unknown.
func (tr *trail) lateSent(number, index int) {
	tr.counts.Count(tr.row(number, index).State, -1)
	tr.record(number, states{index: sent})
}

func TestVerify(t *testing.T) {
	t.Parallel()
	r := verify(t, course().export(t))
	if r.Broken != 0 {
		t.Errorf("%q", r.Problems)
	}
	if r.Chunks != 2 || r.Roots != 3 || r.Links != 9 || r.Events != 10 || r.Rows != 8 || r.Unsigned != 0 || r.UnsignedEvents != 0 || r.Unchecked != 0 {
		t.Errorf("%+v", r)
	}
	if r.Root.Number != 10 {
		t.Errorf("the last root is link %d", r.Root.Number)
	}
}

// TestVerifyOnTheWay: what is not wrong, though it is not finished.
func TestVerifyOnTheWay(t *testing.T) {
	t.Parallel()
	tr := newTrail(3, 3)
	tr.status = campaign.StatusInProgress
	tr.record(1, states{0: sent})
	tr.setRow(1, delivery(1, 1, campaign.DeliveryPending)) // it waits for another attempt
	tr.record(2, states{0: sent, 1: sent})
	tr.atWork = 2
	r := verify(t, tr.export(t))
	if r.Broken != 0 || r.Unsigned != 2 || r.UnsignedEvents != 2 || r.AtWork != 1 || r.Rows != 2 {
		t.Errorf("%+v", r)
	}

	if r.Proven() {
		t.Error("a trail without a root is proven")
	}
}

// TestVerifyExpired: rows may be missing when the service has signed that their
// time is over, and not otherwise.
func TestVerifyExpired(t *testing.T) {
	t.Parallel()
	expired := campaign.Event{Action: campaign.ActionExpired}
	without := func(say func(tr *trail)) audit.Report {
		tr := course()
		say(tr)
		tr.rows = make([][]campaign.Delivery, 3)
		return verify(t, tr.export(t))
	}
	if r := without(func(tr *trail) { tr.signed(signer, expired) }); !r.Proven() || r.Rows != 0 {
		t.Errorf("with expired rows: %q, %+v", r.Problems, r)
	}
	for what, say := range map[string]func(tr *trail){
		"unsigned":          func(tr *trail) { tr.event(expired) },
		"signed by another": func(tr *trail) { tr.signed(stranger, expired) },
		"not said":          func(*trail) {},
		"moved to another place": func(tr *trail) {
			tr.become(campaign.StatusCompleted)
			tr.links[0][10], tr.chains[0] = moved(tr, expired)
		},
	} {
		if r := without(say); r.Broken == 0 || r.Proven() {
			t.Errorf("%s: %+v", what, r)
		}
	}
}

// moved is an event that was signed for another place, in the place of the last.
func moved(tr *trail, e campaign.Event) (campaign.Link, campaign.Chain) {
	other := course()
	other.signed(signer, e)
	payload := other.links[0][len(other.links[0])-1].Payload
	before := campaign.Chain{Links: tr.chains[0].Links - 1, Head: tr.links[0][9].Hash}
	payload = bytes.Replace(payload, []byte(`"actor":"service"`), []byte(`"actor":"nobody"`), 1)
	c := before.Next(aCampaign, 0, payload)
	return campaign.Link{Number: c.Links, Hash: c.Head, Payload: payload}, c
}

// TestVerifyErased: a person who was erased leaves the proof.
func TestVerifyErased(t *testing.T) {
	t.Parallel()
	tr := course()
	for index := range 5 {
		row := tr.row(1, index)
		row.Address, row.Reply, row.MessageID = "", "", ""
	}
	if r := verify(t, tr.export(t)); r.Broken != 5 {
		t.Errorf("nobody says that they were erased: %+v", r)
	}
	for index := range 5 {
		tr.signed(signer, campaign.Event{Action: campaign.ActionErased, Person: delivery(1, index, sent).Person})
	}
	if r := verify(t, tr.export(t)); !r.Proven() || r.Unchecked != 5 {
		t.Errorf("%q, %+v", r.Problems, r)
	}
	tr.row(1, 0).Digest[0] ^= 1
	if r := verify(t, tr.export(t)); r.Broken != 1 {
		t.Errorf("the digest of an erased person's message was changed: %+v", r)
	}
}

// TestVerifyFinds: each way to tamper with a trail is found, and the first
// link concerned is named.
func TestVerifyFinds(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		tamper func(tr *trail)
		want   string // the first problem
	}{
		"an octet in a link":       {func(tr *trail) { tr.links[1][1].Payload[9] ^= 1 }, "chunk 1, link 2: the link was changed"},
		"a link's hash":            {func(tr *trail) { tr.links[2][0].Hash[0] ^= 1 }, "chunk 2, link 1: the link was changed"},
		"an octet in an event":     {func(tr *trail) { tr.links[0][2].Payload[20] ^= 1 }, "the campaign's own chain, link 3: the link was changed"},
		"a link taken out":         {func(tr *trail) { tr.links[1] = append(tr.links[1][:1], tr.links[1][2:]...) }, "chunk 1, link 2: the link is missing"},
		"an event taken out":       {func(tr *trail) { tr.links[0] = tr.links[0][1:] }, "the campaign's own chain, link 1: the link is missing"},
		"the last link taken off":  {func(tr *trail) { tr.links[2] = tr.links[2][:2] }, "chunk 2, link 3: the link is missing"},
		"the last two events":      {func(tr *trail) { tr.links[0] = tr.links[0][:8] }, "the campaign's own chain, link 9: the link is missing"},
		"a chain made shorter":     {func(tr *trail) { tr.cut(2, 2) }, "chunk 2, link 3: the link is missing: the root in link 10"},
		"a chain made anew":        {func(tr *trail) { tr.forge(2) }, "the campaign's own chain, link 7: the chunks' chains are not those"},
		"a link beyond the end":    {func(tr *trail) { tr.beyond(2) }, "chunk 2, link 4: the link is beyond the end"},
		"a lease's head":           {func(tr *trail) { tr.chains[1].Head[5] ^= 1 }, "chunk 1, link 6: the chain's end was changed"},
		"a row's state":            {func(tr *trail) { tr.row(1, 1).State = failed }, "chunk 1, link 6: the row of recipient 1 has another state"},
		"a row made pending":       {func(tr *trail) { tr.row(1, 0).State = campaign.DeliveryPending }, "chunk 1, link 1: the row of recipient 0 has another state"},
		"a row's digest":           {func(tr *trail) { tr.row(1, 0).Digest[31] ^= 1 }, "chunk 1, link 1: the row of recipient 0 has another digest"},
		"a row's reply":            {func(tr *trail) { tr.row(1, 0).Reply = "251 Ok: queued as 1-0" }, "chunk 1, link 1: the row of recipient 0 has another reply"},
		"a row's attempts":         {func(tr *trail) { tr.row(1, 0).Attempts++ }, "chunk 1, link 1: the row of recipient 0 has another number"},
		"a row's time":             {func(tr *trail) { r := tr.row(1, 0); r.UpdatedAt = r.UpdatedAt.Add(1e6) }, "chunk 1, link 1: the row of recipient 0 has another time"},
		"another address in a row": {func(tr *trail) { tr.row(1, 2).Person.Digest[0] ^= 1 }, "chunk 1, link 2: the row of recipient 2 has another address"},
		"an address taken out":     {func(tr *trail) { tr.row(1, 2).Address = "" }, "chunk 1, link 2: the row of recipient 2 has"},
		"a row taken out":          {func(tr *trail) { tr.rows[2] = tr.rows[2][1:] }, "chunk 2, link 1: the row of recipient 0 is missing"},
		"a row twice":              {func(tr *trail) { tr.rows[2] = append(tr.rows[2], tr.rows[2][0]) }, "chunk 2, link 1: the row of recipient 0 is there twice"},
		"a row that no record has": {func(tr *trail) { tr.rows[2] = append(tr.rows[2], delivery(2, 7, sent)) }, "chunk 2: recipient 7 is sent"},
		"a root by another key": {func(tr *trail) {
			tr.become(campaign.StatusInProgress)
			tr.become(campaign.StatusCompleted)
			tr.root(stranger)
		}, "the campaign's own chain, link 13: the root's signature"},
		"a root that counts wrongly": {func(tr *trail) { tr.counts.Sent++; tr.root(signer) }, "the campaign's own chain, link 11: the root counts"},
		"a root of a chunk more": {func(tr *trail) {
			tr.chains = append(tr.chains, campaign.Chain{})
			tr.root(signer)
			tr.chains = tr.chains[:3]
		}, "chunk 3: the chunk is missing"},
		"the status": {func(tr *trail) { tr.status = campaign.StatusFailed }, `the campaign's own chain, link 10: the campaign is "failed"`},
		"an event from elsewhere": {func(tr *trail) {
			tr.event(campaign.Event{Action: campaign.ActionStatus, From: "paused", To: "completed"})
		}, "the campaign's own chain, link 11: the campaign went"},
		"two results":                 {func(tr *trail) { tr.record(1, states{0: sent}) }, "chunk 1, link 7: recipient 0 is sent by it, and was sent by link 1 already"},
		"a recipient beyond the last": {func(tr *trail) { tr.sizes[2] = 8; tr.record(2, states{7: sent}); tr.sizes[2] = 3 }, "chunk 2, link 4: it has recipient 7"},
		"a result taken back twice":   {func(tr *trail) { tr.reopen(2, 2); tr.reopen(2, 2) }, "chunk 2, link 5: it takes back"},
		"a payload that is no record": {func(tr *trail) { tr.append(1, []byte("{}")) }, "chunk 1, link 7: its payload is no record"},
		"a payload that is no event":  {func(tr *trail) { tr.append(0, []byte{1}) }, "the campaign's own chain, link 11: its payload is no event"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			tr := course()
			c.tamper(tr)
			r := verify(t, tr.export(t))
			if r.Broken == 0 || !strings.HasPrefix(r.Problems[0].String(), c.want) {
				t.Errorf("found %q; want first %q", r.Problems, c.want)
			}
		})
	}
}

// cut makes a chain as if it had never been longer.
func (tr *trail) cut(number, links int) {
	tr.links[number] = tr.links[number][:links]
	last := tr.links[number][links-1]
	tr.chains[number] = campaign.Chain{Links: last.Number, Head: last.Hash}
	tr.row(number, 2).State = failed
}

// forge makes a chain anew in which the first recipient's message has another
// digest, as somebody can who may write to the store.
func (tr *trail) forge(number int) {
	old := tr.links[number]
	tr.links[number], tr.chains[number] = nil, campaign.Chain{}
	tr.row(number, 0).Digest[0] ^= 1
	tr.append(number, campaign.EncodeResults(tr.rows[number]))
	for _, l := range old[1:] {
		tr.append(number, l.Payload)
	}
}

func (tr *trail) beyond(number int) {
	was := tr.chains[number]
	tr.append(number, campaign.EncodeReopened([]int{2}))
	tr.chains[number] = was
}

// TestVerifyAnyOctet: no octet of a payload, a hash, or what stands in a lease
// can be changed unseen.
func TestVerifyAnyOctet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		tr := course()
		number := rapid.IntRange(0, 2).Draw(rt, "chain")
		l := &tr.links[number][rapid.IntRange(0, len(tr.links[number])-1).Draw(rt, "link")]
		target := rapid.SampledFrom([][]byte{l.Payload, l.Hash[:], tr.chains[number].Head[:]}).Draw(rt, "target")
		target[rapid.IntRange(0, len(target)-1).Draw(rt, "octet")] ^= byte(rapid.IntRange(1, 255).Draw(rt, "change"))
		if r := verify(t, tr.export(t)); r.Broken == 0 {
			rt.Fatalf("not found: %+v", r)
		}
	})
}

// TestVerifyExport: an export that is not whole is no export.
func TestVerifyExport(t *testing.T) {
	t.Parallel()
	whole := course().export(t)
	lines := strings.SplitAfter(strings.TrimSuffix(whole, "\n"), "\n")
	for what, export := range map[string]string{
		"empty":           "",
		"cut off":         strings.Join(lines[:len(lines)-1], ""),
		"a line less":     strings.Join(append(append([]string{}, lines[:3]...), lines[4:]...), ""),
		"more behind":     whole + lines[1],
		"not JSON":        lines[0] + "no\n",
		"an empty line":   lines[0] + "{}\n",
		"two campaigns":   lines[0] + whole,
		"no campaign":     strings.Join(lines[1:], ""),
		"a chunk skipped": lines[0] + `{"chunk":{"chunk":2}}` + "\n",
		"a foreign link":  lines[0] + `{"link":{"chunk":2,"link":1}}` + "\n",
		"a foreign row":   lines[0] + `{"row":{"chunk":1}}` + "\n",
	} {
		if _, err := audit.Verify(strings.NewReader(export), nil); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

// TestVerifyManyProblems: the report stays small.
func TestVerifyManyProblems(t *testing.T) {
	t.Parallel()
	tr := newTrail(900)
	tr.status = campaign.StatusInProgress
	all := states{}
	for i := range 900 {
		all[i] = sent
	}
	tr.record(1, all)
	tr.rows[1] = nil
	r, err := audit.Verify(strings.NewReader(tr.export(t)), []ed25519.PublicKey{})
	if err != nil || r.Broken != 900 || len(r.Problems) != audit.MaxProblems {
		t.Errorf("%d problems, %d named, %v", r.Broken, len(r.Problems), err)
	}
}
