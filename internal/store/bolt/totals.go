package bolt

import (
	"context"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

// Totals implements store.Campaigns.
func (s *Store) Totals(ctx context.Context, campaignID string) (campaign.Totals, error) {
	var out campaign.Totals
	err := s.view(ctx, func(t *tx) (err error) {
		out, err = t.totals(campaignID)
		return err
	})
	return out, err
}

// count changes a campaign's totals. Their time is this machine's: a call
// does not bring one.
func (t *tx) count(id string, change func(*campaign.Totals)) error {
	totals, err := t.totals(id)
	if err != nil {
		return err
	}
	change(&totals)
	e := newEncoder(64)
	for _, n := range []int64{totals.Total, totals.Sent, totals.Failed, totals.Unknown, totals.Suppressed, totals.Chunks, totals.ChunksDone} {
		e.int(n)
	}
	e.bool(totals.Final)
	e.time(time.Now())
	return t.put(totalsBucket, []byte(id), e)
}

func (t *tx) totals(id string) (campaign.Totals, error) {
	value := t.get(totalsBucket, []byte(id))
	if value == nil {
		return campaign.Totals{}, nil
	}
	d := newDecoder(value)
	totals := campaign.Totals{
		Total: d.int(), Sent: d.int(), Failed: d.int(), Unknown: d.int(), Suppressed: d.int(),
		Chunks: d.int(), ChunksDone: d.int(), Final: d.bool(), UpdatedAt: d.time(),
	}
	if err := d.done(); err != nil {
		return campaign.Totals{}, store.ErrDamaged(id, damaged(totalsBucket, []byte(id), err))
	}
	return totals, nil
}

// add adds what a write has counted, by state and of chunks done.
func add(totals *campaign.Totals, counted campaign.Totals) {
	totals.Sent += counted.Sent
	totals.Failed += counted.Failed
	totals.Unknown += counted.Unknown
	totals.Suppressed += counted.Suppressed
	totals.ChunksDone += counted.ChunksDone
}
