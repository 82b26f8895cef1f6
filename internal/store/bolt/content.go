package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"slices"

	"postern/internal/campaign"
	"postern/internal/store"
)

const (
	// maxPieceOctets is how much content is one value.
	maxPieceOctets = 64 << 10
	// maxContentCommit is how much content is committed at once: a commit holds
	// what it writes in memory, and checkpoints wait for it.
	maxContentCommit = 1 << 20
)

// piece is a part of content to be stored.
type piece struct {
	key    []byte
	octets []byte // of the content itself
}

// piecesOf cuts a campaign's content. Empty content is one empty piece.
func piecesOf(n store.NewCampaign) []piece {
	var out []piece
	for _, digest := range slices.Sorted(maps.Keys(n.Content)) {
		content := n.Content[digest]
		for number := uint32(0); number == 0 || len(content) > 0; number++ {
			cut := min(len(content), maxPieceOctets)
			key := binary.BigEndian.AppendUint32(contentKey(n.Campaign.ID, digest), number)
			out = append(out, piece{key: key, octets: content[:cut]})
			content = content[cut:]
		}
	}
	return out
}

// contentKey leads the keys of a content's pieces.
func contentKey(id, digest string) []byte { return []byte(id + digest) }

// oneCommit is how many of the pieces go into one commit, from the first.
func oneCommit(pieces []piece) int {
	octets := 0
	for i, p := range pieces {
		if octets += len(p.octets); octets > maxContentCommit {
			return i
		}
	}
	return len(pieces)
}

func (t *tx) putPieces(pieces []piece) error {
	for _, p := range pieces {
		if err := t.put(contentBucket, p.key, p.octets); err != nil {
			return err
		}
	}
	return nil
}

// createLarge stores the content ahead of the campaign, as far as it is too
// much for one commit. One call at a time does: none takes away what another
// one of the same campaign is storing.
func (s *Store) createLarge(ctx context.Context, c creation) (o outcome, err error) {
	select {
	case s.large <- struct{}{}:
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	}
	defer func() { <-s.large }()
	o, err = s.createByParts(ctx, c)
	if err != nil || !o.created {
		// The call's own error counts. What cannot be dropped now, the next
		// Open drops.
		_ = s.update(context.WithoutCancel(ctx), func(t *tx) error { return t.dropUnfinished(c.Campaign.ID) })
	}
	return o, err
}

func (s *Store) createByParts(ctx context.Context, c creation) (o outcome, err error) {
	for n := oneCommit(c.pieces); n < len(c.pieces); n = oneCommit(c.pieces) {
		ahead, done := c.pieces[:n], false
		err = s.update(ctx, func(t *tx) (err error) {
			if o, done, err = t.doneBefore(c); done || err != nil {
				return err
			}
			if err := t.put(unfinishedBucket, []byte(c.Campaign.ID), []byte{}); err != nil {
				return err
			}
			return t.putPieces(ahead)
		})
		if done || err != nil {
			return o, err
		}
		c.pieces = c.pieces[n:]
	}
	return s.create(ctx, c)
}

// dropUnfinished takes away the content of a campaign that has not been made.
func (t *tx) dropUnfinished(id string) error {
	if t.get(unfinishedBucket, []byte(id)) == nil {
		return nil
	}
	var keys [][]byte
	c := t.cursor(contentBucket)
	for key, _ := c.Seek([]byte(id)); bytes.HasPrefix(key, []byte(id)); key, _ = c.Next() {
		keys = append(keys, slices.Clone(key))
	}
	for _, key := range keys {
		if err := t.delete(contentBucket, key); err != nil {
			return err
		}
	}
	return t.delete(unfinishedBucket, []byte(id))
}

// sweep drops all content without a campaign.
func (t *tx) sweep() error {
	var ids []string
	c := t.cursor(unfinishedBucket)
	for key, _ := c.First(); key != nil; key, _ = c.Next() {
		ids = append(ids, string(key))
	}
	for _, id := range ids {
		if err := t.dropUnfinished(id); err != nil {
			return err
		}
	}
	return nil
}

// GetContent implements store.Campaigns.
func (s *Store) GetContent(ctx context.Context, campaignID, digest string) ([]byte, error) {
	var out []byte
	err := s.view(ctx, func(t *tx) error {
		var pieces [][]byte
		prefix := contentKey(campaignID, digest)
		c := t.cursor(contentBucket)
		for key, value := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, value = c.Next() {
			pieces = append(pieces, value)
		}
		if len(pieces) == 0 || t.get(campaignsBucket, []byte(campaignID)) == nil {
			return campaign.Errorf(campaign.CodeNotFound, "Content not found")
		}
		out = slices.Concat(pieces...)
		return nil
	})
	return out, err
}
