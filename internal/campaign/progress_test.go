package campaign_test

import (
	"reflect"
	"testing"

	"postern/internal/campaign"
)

func TestBitmap(t *testing.T) {
	t.Parallel()
	const n = 21
	b := campaign.NewBitmap(n)
	want := map[int]bool{}
	check := func(what string) {
		t.Helper()
		if b.Len() != len(want) {
			t.Errorf("%s: Len() = %d; want %d", what, b.Len(), len(want))
		}
		for i := range n + 8 { // also behind its end
			if b.Has(i) != want[i] {
				t.Errorf("%s: Has(%d) = %v", what, i, b.Has(i))
			}
		}
	}
	check("empty")
	for _, i := range []int{0, 7, 8, 15, 20, 8} {
		b.Add(i)
		want[i] = true
	}
	check("after Add")
	for _, i := range []int{8, 8, 3, 20, n, 1000} { // some are not in it
		b.Remove(i)
		delete(want, i)
	}
	check("after Remove")
	var none campaign.Bitmap
	none.Remove(0)
	if none.Has(0) || none.Len() != 0 {
		t.Errorf("a nil Bitmap has %d members", none.Len())
	}
}

// TestProgressClone changes all of a clone's sets: the original stays.
func TestProgressClone(t *testing.T) {
	t.Parallel()
	original := func() campaign.Progress {
		return campaign.Progress{
			Settled: campaign.Bitmap{1}, Intents: campaign.Bitmap{2}, Counted: campaign.Bitmap{4},
			Deferred: []campaign.Deferred{{Index: 5, Attempts: 1}},
		}
	}
	p := original()
	c := p.Clone()
	if !reflect.DeepEqual(c, p) {
		t.Errorf("Clone() = %+v; want %+v", c, p)
	}
	for _, set := range []campaign.Bitmap{c.Settled, c.Intents, c.Counted} {
		set.Add(6)
	}
	c.Deferred[0].Attempts++
	if !reflect.DeepEqual(p, original()) {
		t.Errorf("what was done to a clone became %+v", p)
	}
}
