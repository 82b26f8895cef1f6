package storetest

import (
	"context"
	"maps"
	"slices"
	"time"

	"postern/internal/campaign"
	"postern/internal/store"
)

func dueTests() []test {
	return []test{
		{"due/named when due", testDueNamed},
		{"due/limit", testDueLimit},
		{"due/closed and finished", testDueClosed},
	}
}

const (
	duePatience = 3 * time.Minute
	duePause    = 20 * time.Millisecond
	dueLimit    = 10_000
)

// eventually asks again until the answer is yes: DueLeases is a hint.
func (k kit) eventually(what string, yes func() bool) {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), duePatience)
	defer cancel()
	tick := time.NewTicker(duePause)
	defer tick.Stop()
	for !yes() {
		select {
		case <-ctx.Done():
			k.Fatalf("%s: not within %s", what, duePatience)
		case <-tick.C:
		}
	}
}

// due asks once and gives the leases of the campaign that were named.
func (k kit) due(now time.Time, limit int, id string) map[store.LeaseKey]bool {
	k.Helper()
	keys, err := k.s.DueLeases(k.Context(), now, limit)
	k.ok(err, "DueLeases")
	if len(keys) > limit {
		k.Fatalf("DueLeases named %d leases, the limit is %d", len(keys), limit)
	}
	mine := map[store.LeaseKey]bool{}
	seen := map[store.LeaseKey]bool{}
	for _, key := range keys {
		if seen[key] {
			k.Fatalf("DueLeases named %v twice", key)
		}
		seen[key] = true
		if key.CampaignID == id {
			mine[key] = true
		}
	}
	return mine
}

// named waits until answers have named all the leases, over as many calls as
// it takes. Other tests' leases compete for the places.
func (k kit) named(now time.Time, limit int, want ...store.LeaseKey) {
	k.Helper()
	got := map[store.LeaseKey]bool{}
	k.eventually("DueLeases names all that is due", func() bool {
		for key := range k.due(now, limit, want[0].CampaignID) {
			got[key] = true
		}
		for _, key := range want {
			if !got[key] {
				return false
			}
		}
		return true
	})
}

// unnamed waits until as many answers in a row as would name everything that
// the tests have due do not name the lease.
func (k kit) unnamed(now time.Time, unwanted, other store.LeaseKey) {
	k.Helper()
	rounds := 0
	k.eventually("DueLeases stops naming a lease", func() bool {
		got := k.due(now, dueLimit, unwanted.CampaignID)
		if got[unwanted] {
			rounds = 0
		} else if got[other] {
			rounds++
		}
		return rounds == 2
	})
}

func testDueNamed(k kit) {
	control := k.chunked(5)
	chunk := store.LeaseKey{CampaignID: control.Key.CampaignID, Number: 1}
	k.named(k.at, dueLimit, control.Key, chunk) // one is held, one is free

	held := k.hold(chunk)
	k.named(k.at, dueLimit, chunk)
	_, err := k.s.ReleaseLease(k.Context(), held, k.later(3600))
	k.ok(err, "ReleaseLease")
	k.unnamed(k.later(3599), chunk, control.Key)
	k.named(k.later(3600), dueLimit, chunk)
}

// testDueLimit: a small limit starves nobody, though the first ones stay due.
func testDueLimit(k kit) {
	const chunks = 30
	control := k.chunked(slices.Repeat([]int{1}, chunks)...)
	want := make([]store.LeaseKey, chunks+1)
	for n := range want {
		want[n] = store.LeaseKey{CampaignID: control.Key.CampaignID, Number: n}
	}
	k.named(k.at, 10, want...)
	k.due(k.at, 1, control.Key.CampaignID)
}

func testDueClosed(k kit) {
	control := k.chunked(1, 1, 1)
	id := control.Key.CampaignID
	key := func(n int) store.LeaseKey { return store.LeaseKey{CampaignID: id, Number: n} }
	_, err := k.s.CloseLease(k.Context(), k.hold(key(1)), campaign.StatusPending)
	k.ok(err, "CloseLease")
	held := k.hold(key(2))
	held, err = k.s.Checkpoint(k.Context(), held, k.checkpoint(1, 0, 1, campaign.DeliverySent))
	k.ok(err, "Checkpoint")
	_, err = k.s.FinishChunk(k.Context(), held)
	k.ok(err, "FinishChunk")
	for _, closed := range []store.LeaseKey{key(1), key(2)} {
		k.unnamed(k.later(7200), closed, key(3))
	}
}

// testHeldFirst looks for the few leases that are held among many that are
// free and due for longer.
func testHeldFirst(k kit) {
	const chunks, held, limit = 60, 5, 8
	control := k.chunked(slices.Repeat([]int{1}, chunks)...)
	want := map[store.LeaseKey]bool{control.Key: true}
	for n := range held {
		key := store.LeaseKey{CampaignID: control.Key.CampaignID, Number: 10*n + 7}
		k.hold(key)
		want[key] = true
	}
	free := map[store.LeaseKey]bool{}
	k.eventually("DueLeases names the held leases first, then all free ones in turn", func() bool {
		keys, err := k.s.DueLeases(k.Context(), k.later(1), limit)
		k.ok(err, "DueLeases")
		first := map[store.LeaseKey]bool{}
		for _, key := range keys[:min(len(want), len(keys))] {
			first[key] = true
		}
		for _, key := range keys[len(first):] {
			free[key] = true
		}
		return maps.Equal(first, want) && len(keys) == limit && len(free) >= chunks-held
	})
}

// testManyHeld: where there are more held leases than have a place, they and
// the free ones take turns.
func testManyHeld(k kit) {
	const chunks, held, limit = 40, 30, 8
	control := k.chunked(slices.Repeat([]int{1}, chunks)...)
	key := func(n int) store.LeaseKey { return store.LeaseKey{CampaignID: control.Key.CampaignID, Number: n} }
	for n := range held {
		k.hold(key(n + 1))
	}
	named := map[store.LeaseKey]bool{}
	k.eventually("DueLeases names all held and all free leases in turn", func() bool {
		keys, err := k.s.DueLeases(k.Context(), k.later(1), limit)
		k.ok(err, "DueLeases")
		mixed := 0
		for _, key := range keys {
			named[key] = true
			if key.Number == 0 || key.Number <= held {
				mixed++
			}
		}
		return len(named) == chunks+1 && mixed == limit*3/4 && len(keys) == limit
	})
}
