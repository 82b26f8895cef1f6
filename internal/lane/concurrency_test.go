package lane

import "testing"

func TestTheLimitDoublesARoundUntilTheFirstTrouble(t *testing.T) {
	t.Parallel()
	c := newConcurrency(10)
	for round, want := range []int{2, 4, 8, 10, 10} {
		for range c.limit {
			c.success()
		}
		if c.limit != want {
			t.Fatalf("limit %d after round %d, want %d", c.limit, round+1, want)
		}
	}
}

func TestTroubleHalvesTheLimitOnceARound(t *testing.T) {
	t.Parallel()
	c := newConcurrency(8)
	for range 8 {
		c.success()
	}
	var underWay []uint64
	for range 8 {
		underWay = append(underWay, c.stamp())
	}
	halvings := 0
	for _, stamp := range underWay {
		if c.trouble(stamp) {
			halvings++
		}
	}
	if halvings != 1 || c.limit != 4 {
		t.Fatalf("%d halvings, limit %d; want one, to 4", halvings, c.limit)
	}
	for _, want := range []int{2, 1, 1} {
		c.trouble(c.stamp())
		if c.limit != want {
			t.Fatalf("limit %d, want %d", c.limit, want)
		}
	}
}

func TestAfterTroubleTheLimitGrowsSlowly(t *testing.T) {
	t.Parallel()
	c := newConcurrency(8)
	for range 8 {
		c.success()
	}
	c.trouble(c.stamp())
	for limit := 4; limit < 8; limit++ {
		for range growEvery*limit - 1 {
			if c.success() {
				t.Fatalf("the limit %d grew early", limit)
			}
		}
		if !c.success() || c.limit != limit+1 {
			t.Fatalf("limit %d after %d successes, want %d", c.limit, growEvery*limit, limit+1)
		}
	}
}
