package engine

import (
	"sync"
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	t.Parallel()
	w := newWindow(2)
	w.add()
	if w.room() != nil {
		t.Fatal("no room below the limit")
	}
	w.add()
	full := w.room()
	if full == nil {
		t.Fatal("room at the limit")
	}
	w.add() // was in flight when the window filled
	w.done(1)
	select {
	case <-full:
		t.Fatal("room while the limit is still reached")
	default:
	}
	w.done(1)
	<-full
	if w.room() != nil || w.size() != 1 {
		t.Errorf("size %v, room %v", w.size(), w.room() == nil)
	}
}

func TestWindowConcurrently(t *testing.T) {
	t.Parallel()
	w := newWindow(4)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				for full := w.room(); full != nil; full = w.room() {
					<-full
				}
				w.add()
				w.done(1)
			}
		})
	}
	wg.Wait()
	if w.size() != 0 {
		t.Errorf("%v left", w.size())
	}
}

func TestRetryDelays(t *testing.T) {
	t.Parallel()
	p := RetryPolicy{Min: time.Minute, Max: time.Hour, For: 24 * time.Hour}
	for attempts, want := range map[int]time.Duration{
		1: time.Minute, 2: 2 * time.Minute, 3: 4 * time.Minute, 6: 32 * time.Minute, 7: time.Hour, 1000: time.Hour,
	} {
		low, high := time.Duration(1<<62), time.Duration(0)
		for range 1000 {
			d := p.delay(attempts)
			low, high = min(low, d), max(high, d)
		}
		if low < want*3/4 || high >= want*5/4 || high-low < want/4 {
			t.Errorf("after %d attempts delays are from %v to %v; want %v with a quarter of jitter", attempts, low, high, want)
		}
	}
}

func TestRetriesAreExhaustedByTheirDelays(t *testing.T) {
	t.Parallel()
	p := RetryPolicy{Min: time.Minute, Max: 4 * time.Minute, For: 12 * time.Minute}
	// 1 + 2 + 4 + 4 = 11 minutes; one more would make 15.
	for attempts, want := range map[int]bool{1: false, 4: false, 5: true, 1 << 40: true} {
		if got := p.exhausted(attempts); got != want {
			t.Errorf("after %d attempts: %v; want %v", attempts, got, want)
		}
	}
}
