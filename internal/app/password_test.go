package app

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// keptPassword is a password where it is kept.
type keptPassword struct {
	value string
	err   error
	reads int
}

// fetched gives the password as it is read at a start.
func (k *keptPassword) fetched(t *testing.T, log *strings.Builder) *relayPassword {
	t.Helper()
	p := &relayPassword{log: zerolog.New(log), read: func(context.Context) ([]byte, error) {
		k.reads++
		return []byte(k.value), k.err
	}}
	if err := p.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPasswordIsReadAnew follows a password through refusals, mending and an
// outage of where it is kept, and counts the readings.
func TestPasswordIsReadAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		kept := &keptPassword{value: "wrong\r\n"}
		p := kept.fetched(t, &log)
		began := time.Now()
		step := func(what, got, want string, reads int, at time.Duration) {
			t.Helper()
			if got != want || kept.reads != reads || time.Since(began) != at {
				t.Errorf("%s: %q after %d readings and %s; want %q after %d and %s", what, got, kept.reads, time.Since(began), want, reads, at)
			}
		}
		step("a first start", p.Fresh(t.Context(), time.Time{}), "wrong", 1, 0)
		if p.Renew(t.Context(), "wrong") {
			t.Error("it has not changed")
		}
		step("the first refusal", p.Current(), "wrong", 2, 0)
		for range 100 { // as of other campaigns that were under way
			p.Renew(t.Context(), "wrong")
		}
		step("a hundred refusals", p.Current(), "wrong", 2, 0)
		kept.value = "right"
		step("behind a refusal", p.Fresh(t.Context(), time.Time{}), "right", 3, readEvery)
		if !p.Renew(t.Context(), "wrong") {
			t.Error("whoever still has the old one is not told of the new one")
		}
		step("a late refusal of the old one", p.Fresh(t.Context(), time.Time{}), "right", 3, readEvery)

		time.Sleep(time.Minute)
		resumed := time.Now()
		step("taken up again", p.Fresh(t.Context(), resumed), "right", 4, readEvery+time.Minute)
		step("once for each", p.Fresh(t.Context(), resumed), "right", 4, readEvery+time.Minute)

		kept.err = errors.New("AccessDenied")
		time.Sleep(readEvery)
		p.Renew(t.Context(), "right")
		step("not to be read", p.Fresh(t.Context(), time.Time{}), "right", 6, 3*readEvery+time.Minute)
		if !strings.Contains(log.String(), "AccessDenied") || strings.Contains(log.String(), "right") {
			t.Errorf("the log says %s", log.String())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		step("at a stop", p.Fresh(ctx, time.Time{}), "right", 6, 3*readEvery+time.Minute)
		kept.err, kept.value = nil, "righter"
		step("back again", p.Fresh(t.Context(), time.Time{}), "righter", 7, 4*readEvery+time.Minute)
	})
}
