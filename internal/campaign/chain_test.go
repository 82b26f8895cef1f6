package campaign_test

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"testing"

	"postern/internal/campaign"
)

const aCampaign = "0198c1de-0000-7000-8000-000000000001"

// TestChainNext makes a link's hash by hand, as the documentation says.
func TestChainNext(t *testing.T) {
	t.Parallel()
	first := campaign.Chain{}.Next(aCampaign, 7, []byte("one"))
	second := first.Next(aCampaign, 7, []byte("two"))
	byHand := slices.Concat([]byte("postern audit link 1\n"+aCampaign+"\n"),
		binary.BigEndian.AppendUint32(nil, 7), binary.BigEndian.AppendUint64(nil, 2), first.Head[:], []byte("two"))
	if want := (campaign.Chain{Links: 2, Head: sha256.Sum256(byHand)}); second != want {
		t.Errorf("got %d %s, want %d %s", second.Links, second.Head, want.Links, want.Head)
	}
}

// TestChainBinds changes each thing that a link's hash is over.
func TestChainBinds(t *testing.T) {
	t.Parallel()
	at := campaign.Chain{Links: 4, Head: sha256.Sum256([]byte("head"))}
	heads := map[campaign.Hash]string{at.Next(aCampaign, 1, []byte("payload")).Head: "itself"}
	longer := at
	longer.Links++
	other := at
	other.Head[31] ^= 1
	for what, c := range map[string]campaign.Chain{
		"campaign": at.Next("0198c1de-0000-7000-8000-000000000002", 1, []byte("payload")),
		"number":   at.Next(aCampaign, 2, []byte("payload")),
		"payload":  at.Next(aCampaign, 1, []byte("Payload")),
		"links":    longer.Next(aCampaign, 1, []byte("payload")),
		"before":   other.Next(aCampaign, 1, []byte("payload")),
	} {
		if same, is := heads[c.Head]; is {
			t.Errorf("another %s gives the hash of %s", what, same)
		}
		heads[c.Head] = what
	}
}

func TestHashText(t *testing.T) {
	t.Parallel()
	h := campaign.Hash(sha256.Sum256(nil))
	text, err := h.MarshalText()
	var back campaign.Hash
	if err != nil || back.UnmarshalText(text) != nil || back != h {
		t.Errorf("%s came back as %s", h, back)
	}
	for _, bad := range []string{"", "00", string(text) + "00", "z" + string(text[1:])} {
		if back.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q was taken for a hash", bad)
		}
	}
}
