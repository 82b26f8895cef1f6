package audit_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/audit"
	"postern/internal/campaign"
)

const aCampaign = "0198c1de-0000-7000-8000-000000000001"

var (
	start     = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	signer    = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	stranger  = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize))
	personKey = campaign.KeyID{9, 9, 9, 9}
)

// trail is an audit trail in the making, as a store would have it. Number 0 of
// links and chains is the campaign's own.
type trail struct {
	status campaign.Status
	links  [][]campaign.Link
	chains []campaign.Chain
	sizes  []int
	rows   [][]campaign.Delivery
	counts campaign.Totals
	atWork int // a chunk
}

func newTrail(sizes ...int) *trail {
	n := len(sizes) + 1
	tr := &trail{
		links: make([][]campaign.Link, n), chains: make([]campaign.Chain, n),
		sizes: append([]int{0}, sizes...), rows: make([][]campaign.Delivery, n),
	}
	for _, size := range sizes {
		tr.counts.Total += int64(size)
	}
	tr.event(campaign.Event{Action: campaign.ActionCreated, To: campaign.StatusPending})
	tr.become(campaign.StatusInProgress)
	return tr
}

func (tr *trail) append(number int, payload []byte) {
	tr.chains[number] = tr.chains[number].Next(aCampaign, number, payload)
	tr.links[number] = append(tr.links[number], campaign.Link{
		Number: tr.chains[number].Links, Hash: tr.chains[number].Head, Payload: payload,
	})
}

func (tr *trail) event(e campaign.Event) {
	e.At, e.Actor = start, campaign.Service
	payload, err := e.Encode()
	if err != nil {
		panic(err)
	}
	tr.append(0, payload)
}

// signed is event, signed by the key.
func (tr *trail) signed(key ed25519.PrivateKey, e campaign.Event) {
	e.At, e.Actor = start, campaign.Service
	if err := audit.SignEvent(key, campaign.KeyID{}, audit.Place{CampaignID: aCampaign, At: start, Before: tr.chains[0]}, &e); err != nil {
		panic(err)
	}
	tr.event(e)
}

func (tr *trail) become(to campaign.Status) {
	tr.event(campaign.Event{Action: campaign.ActionStatus, From: tr.statusNow(), To: to})
}

func (tr *trail) statusNow() campaign.Status {
	status := campaign.Status("")
	for _, l := range tr.links[0] {
		if e, err := campaign.DecodeEvent(l.Payload); err == nil && e.To != "" {
			status = e.To
		}
	}
	return status
}

func delivery(number, index int, state campaign.DeliveryState) campaign.Delivery {
	d := campaign.Delivery{
		Index: index, Address: fmt.Sprintf("person%d-%d@example.org", number, index), State: state, Attempts: 1,
		UpdatedAt: start.Add(time.Duration(index) * time.Second), MessageID: fmt.Sprintf("%d-%d@example.com", number, index),
	}
	d.Person = campaign.Person{Key: personKey, Digest: [16]byte{byte(number), byte(index), 1}}
	switch state {
	case campaign.DeliverySent:
		d.Reply, d.Digest = fmt.Sprintf("250 Ok: queued as %d-%d", number, index), bytes.Repeat([]byte{byte(index)}, 32)
	case campaign.DeliveryFailed:
		d.Reply = "550 <" + d.Address + ">: no such mailbox"
	case campaign.DeliveryPending, campaign.DeliveryUnknown, campaign.DeliverySuppressed:
	}
	return d
}

// record writes results of a chunk at once: a link, and the rows.
func (tr *trail) record(number int, states map[int]campaign.DeliveryState) {
	var rows []campaign.Delivery
	for index := range tr.sizes[number] {
		if state, is := states[index]; is {
			rows = append(rows, delivery(number, index, state))
			tr.counts.Count(state, 1)
			tr.setRow(number, rows[len(rows)-1])
		}
	}
	tr.append(number, campaign.EncodeResults(rows))
}

func (tr *trail) setRow(number int, d campaign.Delivery) {
	for i, old := range tr.rows[number] {
		if old.Index == d.Index {
			tr.rows[number][i] = d
			return
		}
	}
	tr.rows[number] = append(tr.rows[number], d)
}

func (tr *trail) reopen(number int, indexes ...int) {
	for _, i := range indexes {
		tr.counts.Count(tr.row(number, i).State, -1)
	}
	tr.append(number, campaign.EncodeReopened(indexes))
}

func (tr *trail) row(number, index int) *campaign.Delivery {
	for i := range tr.rows[number] {
		if tr.rows[number][i].Index == index {
			return &tr.rows[number][i]
		}
	}
	panic("no such row")
}

// root joins the chains, signed by the key.
func (tr *trail) root(key ed25519.PrivateKey) {
	var tree audit.Tree
	r := campaign.Root{Total: tr.counts.Total, Sent: tr.counts.Sent, Failed: tr.counts.Failed, Unknown: tr.counts.Unknown, Suppressed: tr.counts.Suppressed}
	for n, c := range tr.chains[1:] {
		tree.Add(n+1, c)
		r.Links = append(r.Links, c.Links)
	}
	r.Merkle = tree.Root()
	audit.Sign(key, audit.Place{CampaignID: aCampaign, At: start, Before: tr.chains[0]}, &r)
	tr.event(campaign.Event{Action: campaign.ActionRoot, Root: &r})
}

// export writes the trail as the service would, the settled recipients of each
// chunk taken from its records.
func (tr *trail) export(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	w := audit.NewWriter(&out)
	write := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	write(w.Write(audit.Line{Campaign: &audit.CampaignLine{
		CampaignID: aCampaign, Name: "Spring", Status: tr.status, Links: tr.chains[0].Links, Head: tr.chains[0].Head, Chunks: len(tr.sizes) - 1,
	}}))
	for number := range tr.sizes {
		if number > 0 {
			write(w.Write(audit.Line{Chunk: &audit.ChunkLine{
				Chunk: number, Size: tr.sizes[number], Settled: tr.settled(number), Links: tr.chains[number].Links, Head: tr.chains[number].Head,
				AtWork: number == tr.atWork,
			}}))
		}
		for _, l := range tr.links[number] {
			write(w.Link(number, l))
		}
		for _, d := range tr.rows[number] {
			if number != tr.atWork {
				write(w.Write(audit.Line{Row: rowLine(number, d)}))
			}
		}
	}
	write(w.End())
	return out.String()
}

func (tr *trail) settled(number int) int {
	open := map[int]bool{}
	for _, l := range tr.links[number] {
		r, err := campaign.DecodeRecord(l.Payload)
		if err != nil {
			continue
		}
		for _, result := range r.Results {
			open[result.Index] = false
		}
		for _, index := range r.Reopened {
			open[index] = true
		}
	}
	n := 0
	for _, is := range open {
		if !is {
			n++
		}
	}
	return n
}

func rowLine(number int, d campaign.Delivery) *audit.RowLine {
	r := &audit.RowLine{
		Chunk: number, Index: d.Index, Email: d.Address, State: d.State, Attempts: d.Attempts, Reply: d.Reply,
		MessageID: d.MessageID, Digest: hex.EncodeToString(d.Digest), UpdatedAt: d.UpdatedAt,
	}
	if d.Address != "" {
		r.PersonKey, r.Person = &d.Person.Key, &d.Person.Digest
	}
	return r
}

func verify(t *testing.T, export string) audit.Report {
	t.Helper()
	r, err := audit.Verify(strings.NewReader(export), []ed25519.PublicKey{stranger.Public().(ed25519.PublicKey)[:5], signer.Public().(ed25519.PublicKey)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
