package lane

// This file is how workers wait: nobody hands anything over, a worker that
// finds nothing to do parks and is woken.

// signal says that something has happened that a worker may have waited for,
// and wakes one. One is enough: a worker that finds work wakes the next.
//
// A worker reads events before it looks for work, and parks only if there was
// none since: so nothing that happens in between is missed.
func (l *Lane) signal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.signalLocked()
}

func (l *Lane) signalLocked() {
	l.events.Add(1)
	l.wakeOne()
}

// wakeNext wakes a worker where there may be more to do than one can.
func (l *Lane) wakeNext() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wakeOne()
}

// wakeOne wakes a parked worker within the limit, with the lock held: one that
// has a session if there is one, so that work stays with few.
func (l *Lane) wakeOne() {
	if l.idle == 0 {
		return
	}
	var chosen *worker
	for _, w := range l.workers[:l.concurrency.limit] {
		if w.parked && (chosen == nil || w.connected) {
			chosen = w
			if w.connected {
				break
			}
		}
	}
	if chosen != nil {
		l.unpark(chosen)
		chosen.wake <- struct{}{}
	}
}

// park makes w a parked worker unless something has happened since it looked.
func (l *Lane) park(w *worker, seen uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.events.Load() != seen {
		return false
	}
	w.parked, w.connected = true, w.session != nil
	l.idle++
	return true
}

// leave ends w's parking by itself. It says false when w was woken at the same
// moment, so that it must look for work first.
func (l *Lane) leave(w *worker) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !w.parked {
		<-w.wake
		return false
	}
	l.unpark(w)
	return true
}

// unpark takes w out of the parked workers, with the lock held.
func (l *Lane) unpark(w *worker) {
	w.parked = false
	l.idle--
}

// startPacing makes the caller the worker that waits for the budget's rate,
// unless there is one.
func (l *Lane) startPacing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pacing {
		return false
	}
	l.pacing = true
	return true
}

func (l *Lane) endPacing() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pacing = false
	l.signalLocked()
}

// within says whether w is below the limit.
func (l *Lane) within(w *worker) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return w.index < l.concurrency.limit
}

// stands counts sessions.
func (l *Lane) stands(more int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.standing += more
}

// state is what metrics show.
func (l *Lane) state() (limit, standing int, open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.concurrency.limit, l.standing, l.gate.open
}
