package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/campaign"
	"postern/internal/mailer"
	"postern/internal/store"
	"postern/internal/store/bolt"
)

// TestAPauseIsHeededWithinASecond: by a task that did not pause the campaign
// itself, whenever it has looked last. The promise is about time, and so the
// clock is one that a slow machine does not disturb.
func TestAPauseIsHeededWithinASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := bolt.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		rules, err := mailer.ParseRules([]string{"127.0.0.1"}, []int{25})
		if err != nil {
			t.Fatal(err)
		}
		cfg := Config{DefaultRelay: mailer.Relay{Host: "127.0.0.1", Port: 25}, Session: mailer.Options{Rules: rules}}
		r := &rig{Engine: newTask(t, s, cfg), store: s}
		other := newTask(t, s, cfg)
		r.background.Go(func() { r.watchSignal(r.feeding) })
		for since := range 5 {
			id := r.submit(t, letter())
			if _, err := r.transition(t.Context(), id, store.Transition{To: campaign.StatusInProgress}); err != nil {
				t.Fatal(err)
			}
			run, release, err := r.openRun(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(signalEvery + time.Duration(since)*signalEvery/5)
			if _, err := other.Pause(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			paused := time.Now()
			<-run.ctx.Done()
			if took := time.Since(paused); took > time.Second || !run.isOver() {
				t.Errorf("the run ended %v behind the pause, over: %v", took, run.isOver())
			}
			release()
		}
		r.stopWorking()
		r.background.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
