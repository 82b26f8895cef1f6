package engine

import (
	"context"
	"time"
)

// signalEvery is how often the store's Signal is read while campaigns are at
// work here: often enough that a pause holds on every task within a second.
const signalEvery = 250 * time.Millisecond

// watchSignal has the campaigns at work here looked at again when the Signal
// has risen, until the context ends. It sleeps while there are none.
func (e *Engine) watchSignal(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.runs.opened:
		}
		answers := true
		for open := e.runs.atWork(); len(open) > 0; open = e.runs.atWork() {
			err := e.readSignal(ctx, open)
			if err != nil && answers && ctx.Err() == nil {
				e.log.Warn().Err(err).Msg("the store does not tell whether a campaign at work here has been stopped; asking on")
			}
			answers = err == nil
			if sleep(ctx, signalEvery) != nil {
				return
			}
		}
	}
}

// readSignal passes the Signal on to the runs. When the store does not answer
// they go on with what they know.
func (e *Engine) readSignal(ctx context.Context, open []*run) error {
	signal, err := e.store.Signal(ctx)
	if err != nil {
		return err
	}
	for _, r := range open {
		r.tell(signal)
	}
	return nil
}

// tell has the run's campaign looked at unless that was done since the Signal
// rose to this number.
func (r *run) tell(signal int64) {
	r.told.Store(signal)
	if r.heeded.Load() == signal {
		return
	}
	select {
	case r.look <- struct{}{}:
	default: // it is going to look anyway
	}
}
