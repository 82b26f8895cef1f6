package engine

import (
	"math/rand/v2"
	"time"
)

// RetryPolicy says when a temporarily refused recipient is tried again.
type RetryPolicy struct {
	Min time.Duration // before the second attempt
	Max time.Duration // the longest delay
	For time.Duration // give up when the delays have this sum
}

// delay before the attempt that follows attempts failed ones (at least 1):
// Min doubled each time, at most Max, then spread over [3/4, 5/4) so that
// recipients refused together do not come back together.
func (p RetryPolicy) delay(attempts int) time.Duration {
	return jitter(backoff(p.Min, p.Max, attempts))
}

// exhausted says whether another attempt after attempts failed ones would come
// too late: the delays, without jitter, would be longer than For together. It
// counts delays and reads no clock, so a clock that jumps fails nobody.
func (p RetryPolicy) exhausted(attempts int) bool {
	var waited time.Duration
	for i := 1; i <= attempts && waited <= p.For; i++ {
		waited += backoff(p.Min, p.Max, i)
	}
	return waited > p.For
}

// backoff is least doubled n-1 times, at most most.
func backoff(least, most time.Duration, n int) time.Duration {
	d := least
	for i := 1; i < n && d < most; i++ {
		d *= 2
	}
	return min(d, most)
}

func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.75 + rand.Float64()/2)) //nolint:gosec // G404: spreading needs no secrecy
}
