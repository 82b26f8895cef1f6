package lane

// growEvery is how many successes for each connection let the limit grow by
// one, once there has been trouble.
const growEvery = 8

// concurrency is how many connections a relay seems to bear: additive
// increase, multiplicative decrease, below the cap. Until the first trouble it
// grows by one for each success, which doubles it in each round.
//
// It is used under the lane's lock.
type concurrency struct {
	most  int // the cap
	limit int
	// troubled: the fast growth of the beginning is over.
	troubled bool
	good     int // successes since the limit moved
	// stamps numbers what is begun. What has a stamp up to halvedAt was begun
	// before the last halving and tells nothing new.
	stamps, halvedAt uint64
}

func newConcurrency(most int) concurrency { return concurrency{most: most, limit: 1} }

// stamp names something that is begun now.
func (c *concurrency) stamp() uint64 {
	c.stamps++
	return c.stamps
}

// success notes that the relay did what it should, and says whether the limit
// grew.
func (c *concurrency) success() (grew bool) {
	if c.limit >= c.most {
		return false
	}
	c.good++
	if c.troubled && c.good < growEvery*c.limit {
		return false
	}
	c.good = 0
	c.limit++
	return true
}

// trouble notes that the relay has too much to do, as what was begun with the
// stamp has shown, and says whether that halved the limit: what was under way
// together counts once.
func (c *concurrency) trouble(stamp uint64) (halved bool) {
	if stamp <= c.halvedAt {
		return false
	}
	c.halvedAt = c.stamps
	c.troubled = true
	c.good = 0
	if c.limit == 1 {
		return false
	}
	c.limit /= 2
	return true
}
