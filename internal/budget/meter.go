package budget

import (
	"time"

	"golang.org/x/time/rate"
)

// burst is how much of a second's messages may come at once.
const burst = 0.02

// meter is a token bucket whose rate changes.
type meter struct {
	capped  bool
	rate    float64 // messages a second
	limiter *rate.Limiter
	// refunded are messages that were taken and not sent. Together with the
	// bucket's they are at most a burst.
	refunded float64
}

func newMeter(limit float64) meter { return meter{capped: limit > 0} }

// set changes the rate. A part that begins has an empty bucket: what the rate
// was before, somebody else has used.
func (m *meter) set(r float64, now time.Time) {
	switch {
	case !m.capped || r == m.rate:
		return
	case m.rate == 0:
		m.refunded = 0
		m.limiter = rate.NewLimiter(rate.Limit(r), 1)
		m.limiter.AllowN(now, 1)
	default:
		m.limiter.SetLimitAt(now, rate.Limit(r))
	}
	m.limiter.SetBurstAt(now, max(1, int(burst*r)))
	m.rate = r
}

// take takes a message, or says how long it is until there will be one; 0
// means until the rate is another.
func (m *meter) take(now time.Time) (ok bool, again time.Duration) {
	if !m.capped {
		return true, 0
	}
	if m.rate == 0 {
		return false, 0
	}
	tokens := m.limiter.TokensAt(now)
	m.refunded = min(m.refunded, float64(m.limiter.Burst())-tokens)
	if m.refunded >= 1 {
		m.refunded--
		return true, 0
	}
	if m.limiter.AllowN(now, 1) {
		return true, 0
	}
	return false, time.Duration((1-tokens)/m.rate*float64(time.Second)) + time.Microsecond
}
