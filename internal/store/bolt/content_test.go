package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"

	"postern/internal/campaign"
	"postern/internal/store"
)

// largeContent takes several commits.
const largeContent = 3*maxContentCommit + 1

// newLarge is a campaign with large and with small content.
func newLarge(t *testing.T) store.NewCampaign {
	t.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	large := make([]byte, largeContent)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(large)
	n := store.NewCampaign{
		Campaign: campaign.Campaign{ID: id.String(), Status: campaign.StatusPending},
		Content:  map[string][]byte{},
	}
	for _, content := range [][]byte{large, large[:maxPieceOctets], large[:1], {}} {
		sum := sha256.Sum256(content)
		n.Content[hex.EncodeToString(sum[:])] = content
	}
	return n
}

func hasContent(t *testing.T, s *Store, n store.NewCampaign) {
	t.Helper()
	for digest, want := range n.Content {
		got, err := s.GetContent(t.Context(), n.Campaign.ID, digest)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("content of %d octets came back with %d, %v", len(want), len(got), err)
		}
	}
}

// hasNoTrace sees that neither content nor an unfinished campaign is stored
// besides those of the campaigns given.
func hasNoTrace(t *testing.T, s *Store, besides ...store.NewCampaign) {
	t.Helper()
	pieces := 0
	for _, n := range besides {
		pieces += len(piecesOf(n))
	}
	err := s.view(t.Context(), func(tx *tx) error {
		for bucket, want := range map[string]int{contentBucket: pieces, unfinishedBucket: 0} {
			if got := tx.bolt.Bucket([]byte(bucket)).Stats().KeyN; got != want {
				t.Errorf("bucket %q has %d keys, want %d", bucket, got, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestLargeContent(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	first, second := newLarge(t), newLarge(t)
	for _, n := range []store.NewCampaign{first, second, first} { // the last is a call that is repeated
		if _, created, err := s.CreateCampaign(t.Context(), n); err != nil || !created {
			t.Fatalf("created %v, %v", created, err)
		}
	}
	hasContent(t, s, first)
	hasContent(t, s, second)
	hasNoTrace(t, s, first, second)

	taken := newLarge(t)
	taken.Campaign.ID, taken.Campaign.Name = first.Campaign.ID, "another"
	if _, _, err := s.CreateCampaign(t.Context(), taken); campaign.CodeOf(err) != campaign.CodeConflict {
		t.Errorf("with an id that is taken: %v", err)
	}
	hasContent(t, s, first)
	hasNoTrace(t, s, first, second)
}

func TestLargeContentOfKnownKey(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	first, again := newLarge(t), newLarge(t)
	first.IdempotencyKey, again.IdempotencyKey = "key", "key"
	if _, _, err := s.CreateCampaign(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	c, created, err := s.CreateCampaign(t.Context(), again)
	if err != nil || created || c.ID != first.Campaign.ID {
		t.Errorf("with a known key: %s, created %v, %v", c.ID, created, err)
	}
	again.RequestDigest = "other"
	if _, _, err := s.CreateCampaign(t.Context(), again); campaign.CodeOf(err) != campaign.CodeKeyReused {
		t.Errorf("with the key of another request: %v", err)
	}
	hasNoTrace(t, s, first)
}

// endsAfter is a context that ends once it has been asked a number of times,
// which each write does once.
type endsAfter struct {
	context.Context //nolint:containedctx // it is a context itself

	left int
}

func (c *endsAfter) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestLargeContentGivenUp: a call that ends in the middle takes back what it
// has stored, and may be repeated.
func TestLargeContentGivenUp(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	other, n := newLarge(t), newLarge(t)
	if _, _, err := s.CreateCampaign(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	for writes := range 3 {
		_, _, err := s.CreateCampaign(&endsAfter{Context: t.Context(), left: writes}, n)
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("after %d writes: %v", writes, err)
		}
		hasNoTrace(t, s, other)
	}
	if _, created, err := s.CreateCampaign(t.Context(), n); err != nil || !created {
		t.Fatalf("the same call again: created %v, %v", created, err)
	}
	hasContent(t, s, other)
	hasContent(t, s, n)
	hasNoTrace(t, s, other, n)
}

// TestLargeContentAfterCrash: content without a campaign is not to be read,
// and is gone once the store has been opened again.
func TestLargeContentAfterCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	other, n := newLarge(t), newLarge(t)
	if _, _, err := s.CreateCampaign(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	err = s.update(t.Context(), func(t *tx) error {
		return errors.Join(t.put(unfinishedBucket, []byte(n.Campaign.ID), []byte{}), t.putPieces(piecesOf(n)))
	})
	if err != nil {
		t.Fatal(err)
	}
	for digest := range n.Content {
		if _, err := s.GetContent(t.Context(), n.Campaign.ID, digest); campaign.CodeOf(err) != campaign.CodeNotFound {
			t.Errorf("content without a campaign: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openIn(t, dir)
	hasNoTrace(t, s, other)
	hasContent(t, s, other)
}

// TestLargeContentOnFullDisk: nothing is made, and what stays behind for want
// of space goes with the next start.
func TestLargeContentOnFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := open(dir, options{maxOctets: 2 * maxContentCommit})
	if err != nil {
		t.Fatal(err)
	}
	n := newLarge(t)
	if _, _, err := s.CreateCampaign(t.Context(), n); campaign.CodeOf(err) != campaign.CodeUnavailable {
		t.Errorf("on a full disk: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openIn(t, dir)
	hasNoTrace(t, s)
	if _, created, err := s.CreateCampaign(t.Context(), n); err != nil || !created {
		t.Fatalf("with space: created %v, %v", created, err)
	}
	hasContent(t, s, n)
}
