package dynamo

import (
	"context"

	"postern/internal/campaign"
	"postern/internal/store"
)

// AddChunk implements store.Work with one transaction of the control lease,
// the chunk's lease, its audience and the totals.
func (s *Store) AddChunk(ctx context.Context, control store.Lease, chunk store.Chunk, cursor string) (store.Lease, error) {
	w, err := writeOf(control, "add chunk", chunk.Size, chunk.DueAt.UnixNano(), chunk.Packed, cursor)
	if err != nil {
		return store.Lease{}, err
	}
	then := control
	then.Freeze.Cursor, then.Freeze.Chunks = cursor, control.Freeze.Chunks+1
	w.set(attrCursor, str(cursor))
	w.set(attrChunks, num(then.Freeze.Chunks))

	key := store.LeaseKey{CampaignID: control.Key.CampaignID, Number: then.Freeze.Chunks}
	audience := workKey(chunkID(key), skAudience)
	audience["a"] = bin(chunk.Packed)
	counts := newTally(s.now())
	counts.add(totalsTotal, int64(chunk.Size))
	counts.add(totalsChunks, 1)
	return s.transactLease(ctx, w, then,
		putPart(s.work, newLease(key, chunk.DueAt, chunk.Size), "pk"),
		putPart(s.work, audience, ""),
		counts.part(s.work, totalsKey(key)))
}

// FinishFreeze implements store.Work.
func (s *Store) FinishFreeze(ctx context.Context, control store.Lease) (store.Lease, error) {
	w, err := writeOf(control, "finish freeze")
	if err != nil {
		return store.Lease{}, err
	}
	then := control
	then.Freeze.Final = true
	w.set(attrFinal, boolean(true))
	counts := newTally(s.now())
	counts.set(totalsFinal, boolean(true))
	return s.transactLease(ctx, w, then, counts.part(s.work, totalsKey(control.Key)))
}

// GetAudience implements store.Work.
func (s *Store) GetAudience(ctx context.Context, key store.LeaseKey) ([]byte, error) {
	it, found, err := s.getItem(ctx, s.work, workKey(chunkID(key), skAudience))
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, campaign.Errorf(campaign.CodeNotFound, "campaign %s has no chunk %d", key.CampaignID, key.Number)
	}
	return octets(it["a"]), nil
}

// Checkpoint implements store.Work with one transaction of the chunk's lease,
// the rows, the link of the audit trail and the totals. Without a terminal
// delivery there is no link, and the totals stay as they are, so such a
// checkpoint leaves them alone.
func (s *Store) Checkpoint(ctx context.Context, held store.Lease, cp store.Checkpoint) (store.Lease, error) {
	w, err := writeOf(held, "checkpoint", cp)
	if err != nil {
		return store.Lease{}, err
	}
	chain, parts := s.appendLink(held.Key, held.Progress.Chain, campaign.EncodeResults(cp.Deliveries))
	progress := cp.Progress
	progress.Chain = chain
	if err := w.setProgress(progress); err != nil {
		return store.Lease{}, err
	}
	parts = append(parts, s.rowParts(held.Key, cp.Deliveries)...)
	then := held
	counts := countTerminal(cp.Deliveries)
	tally := s.tally(counts)
	if cp.Finish {
		then = w.finish(tally)
	}
	if len(counts) > 0 || cp.Finish {
		parts = append(parts, tally.part(s.work, totalsKey(held.Key)))
	}
	if len(parts) == 0 {
		return s.writeLease(ctx, w)
	}
	then.Progress = asStored(progress)
	return s.transactLease(ctx, w, then, parts...)
}
