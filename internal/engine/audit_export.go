package engine

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"io"

	"postern/internal/audit"
	"postern/internal/campaign"
	"postern/internal/store"
)

const (
	// linksAtOnce is how many links are read at once: at most so many are in
	// memory besides those of a chunk.
	linksAtOnce = 50
	// exportTries is how often a chunk is read that is being written to, before
	// its rows are left out.
	exportTries = 5
)

// Auditor exports audit trails from a store, with or without an engine at work
// on it.
type Auditor struct {
	Store store.Store
	Keys  Keys
}

// AuditKey is a public key that signs roots.
type AuditKey struct {
	ID     campaign.KeyID
	Public ed25519.PublicKey
}

// AuditKeys gives the public keys of all keys that the service has, the one in
// use first.
func (a Auditor) AuditKeys() ([]AuditKey, error) {
	var all []AuditKey
	for _, id := range a.Keys.KeyIDs() {
		private, err := signer(a.Keys, id)
		if err != nil {
			return nil, err
		}
		public, _ := private.Public().(ed25519.PublicKey)
		all = append(all, AuditKey{ID: id, Public: public})
	}
	return all, nil
}

// Audit writes a campaign's audit trail, as package audit describes it. Nothing
// is written before the first thing that can fail has not. CodeNotFound.
func (a Auditor) Audit(ctx context.Context, campaignID string, w io.Writer) error {
	c, err := a.Store.GetCampaign(ctx, campaignID)
	if err != nil {
		return err
	}
	// Behind the campaign: the roots that it has tell of no further chunks.
	control, err := a.Store.GetLease(ctx, store.LeaseKey{CampaignID: campaignID})
	if err != nil {
		return err
	}
	x := exporter{Auditor: a, out: audit.NewWriter(w), id: campaignID, persons: map[campaign.KeyID]*persons{}}
	err = x.out.Write(audit.Line{Campaign: &audit.CampaignLine{
		CampaignID: c.ID, Name: c.Name, Status: c.Status, Links: c.Log.Links, Head: c.Log.Head, Chunks: control.Freeze.Chunks,
	}})
	if err != nil {
		return err
	}
	err = x.links(ctx, control.Key, c.Log.Links, func(l campaign.Link) error { return x.out.Link(0, l) })
	for n := 1; n <= control.Freeze.Chunks && err == nil; n++ {
		err = x.chunk(ctx, store.LeaseKey{CampaignID: campaignID, Number: n})
	}
	if err != nil {
		return err
	}
	return x.out.End()
}

// Audit is Auditor.Audit of the engine's store.
func (e *Engine) Audit(ctx context.Context, campaignID string, w io.Writer) error {
	return e.auditor().Audit(ctx, campaignID, w)
}

// AuditKeys is Auditor.AuditKeys of the engine's keys.
func (e *Engine) AuditKeys() ([]AuditKey, error) { return e.auditor().AuditKeys() }

func (e *Engine) auditor() Auditor { return Auditor{Store: e.store, Keys: e.sealer} }

// exporter writes one export.
type exporter struct {
	Auditor

	out *audit.Writer
	id  string
	// persons has a nil for a key that is not at hand.
	persons map[campaign.KeyID]*persons
}

// links calls each with the links of a chain up to the one with the number to.
func (x *exporter) links(ctx context.Context, key store.LeaseKey, to int64, each func(campaign.Link) error) error {
	for after := int64(0); after < to; {
		page, err := x.Store.AuditLinks(ctx, key, after, int(min(linksAtOnce, to-after)))
		if err != nil || len(page) == 0 { // links that are missing are for the reader to find
			return err
		}
		for _, l := range page {
			if l.Number > to {
				return nil
			}
			if err := each(l); err != nil {
				return err
			}
		}
		after = page[len(page)-1].Number
	}
	return nil
}

// snapshot is a chunk as it was at one moment.
type snapshot struct {
	lease store.Lease
	links []campaign.Link
	rows  []campaign.Delivery
	// atWork: results came in while the rows were read.
	atWork bool
}

// chunk writes a chunk's lines.
func (x *exporter) chunk(ctx context.Context, key store.LeaseKey) error {
	s, err := x.snapshot(ctx, key)
	if err != nil {
		return err
	}
	err = x.out.Write(audit.Line{Chunk: &audit.ChunkLine{
		Chunk: key.Number, Size: s.lease.Size, Settled: s.lease.Progress.Settled.Len(),
		Links: s.lease.Progress.Chain.Links, Head: s.lease.Progress.Chain.Head, AtWork: s.atWork,
	}})
	keys := map[int]campaign.KeyID{}
	for i := 0; i < len(s.links) && err == nil; i++ {
		err = x.out.Link(key.Number, s.links[i])
		record, _ := campaign.DecodeRecord(s.links[i].Payload) // a damaged one is for the reader to find
		for _, r := range record.Results {
			keys[r.Index] = r.Person.Key
		}
	}
	for i := 0; i < len(s.rows) && err == nil; i++ {
		err = x.out.Write(audit.Line{Row: x.row(key.Number, s.rows[i], keys[s.rows[i].Index])})
	}
	return err
}

// snapshot reads a chunk, again where results have come in between.
func (x *exporter) snapshot(ctx context.Context, key store.LeaseKey) (s snapshot, err error) {
	now, err := x.Store.GetLease(ctx, key)
	for try := 0; err == nil && try < exportTries; try++ {
		s = snapshot{lease: now}
		err = x.links(ctx, key, now.Progress.Chain.Links, func(l campaign.Link) error {
			s.links = append(s.links, l)
			return nil
		})
		if err == nil {
			s.rows, err = x.Store.Deliveries(ctx, key)
		}
		if err == nil {
			now, err = x.Store.GetLease(ctx, key)
		}
		if now.Progress.Chain == s.lease.Progress.Chain {
			return s, err
		}
	}
	s.rows, s.atWork = nil, true
	return s, err
}

// row is a delivery's line. Its person is made with the key that the record
// names, where that is at hand.
func (x *exporter) row(chunk int, d campaign.Delivery, key campaign.KeyID) *audit.RowLine {
	r := &audit.RowLine{
		Chunk: chunk, Index: d.Index, Email: d.Address, State: d.State, Attempts: d.Attempts, Reply: d.Reply,
		MessageID: d.MessageID, Digest: hex.EncodeToString(d.Digest), UpdatedAt: d.UpdatedAt,
	}
	if p := x.personsOf(key); p != nil && d.Address != "" {
		person := p.of(d.Address)
		r.PersonKey, r.Person = &person.Key, &person.Digest
	}
	return r
}

func (x *exporter) personsOf(key campaign.KeyID) *persons {
	p, known := x.persons[key]
	if !known {
		p, _ = newPersons(x.Keys, key, x.id) // nil where the key is not at hand
		x.persons[key] = p
	}
	return p
}
