package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

// readTimeout bounds one reading of the list.
const readTimeout = 30 * time.Second

// Source gives the list of tokens as it is now.
type Source func(ctx context.Context) ([]byte, error)

// File is a list in a file. It is read whole each time: its size and its time
// would not show every change. One that everybody on the machine may write is
// an error: whoever can, lets himself in. The group is left out, which is
// Kubernetes's own (fsGroup) in a volume; reading gives hashes alone.
func File(path string) Source {
	return settled(func(context.Context) ([]byte, error) {
		f, err := os.Open(path) //nolint:gosec // G304: the operator's choice
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		if info.Mode().Perm()&0o002 != 0 && runtime.GOOS != "windows" { // where modes are made up
			return nil, fmt.Errorf("%s may be written by everybody on this machine: chmod 644 it, once you know that its tokens are yours", path)
		}
		return io.ReadAll(io.LimitReader(f, maxList+1))
	})
}

// settled passes a change on when two readings in a row show it: one alone may
// have caught a file half-written, and the half of a list may be a good list of
// fewer tokens. The first reading counts as it is.
func settled(read Source) Source {
	var last, given []byte
	return func(ctx context.Context) ([]byte, error) {
		text, err := read(ctx)
		if err != nil {
			return nil, err
		}
		if given == nil || bytes.Equal(text, last) {
			given = text
		}
		last = text
		return given, nil
	}
}

// Config is how a Keeper keeps the list. All of it is required.
type Config struct {
	Source Source
	Every  time.Duration // between two readings
	Now    func() time.Time
	// Changed is called when another list is in force, with the number of its
	// tokens, and Failed when the list cannot be read or has a fault, once for
	// each fault. Both are called by Run.
	Changed func(tokens int)
	Failed  func(err error)
}

// Keeper has the list in force, and keeps it up to date. It is safe for
// concurrent use.
type Keeper struct {
	cfg   Config
	state atomic.Pointer[state]
}

// state is the list in force and what became of the last reading.
type state struct {
	list   list
	digest [sha256.Size]byte // of the text that was read last; zero when none was
	err    error             // why list is an older one; nil when it is the last one
}

// Open reads the list for the first time. Run must follow for it to be read
// again.
func Open(ctx context.Context, cfg Config) (*Keeper, error) {
	k := &Keeper{cfg: cfg}
	first := k.read(ctx, &state{})
	if first.err != nil {
		return nil, first.err
	}
	k.state.Store(first)
	return k, nil
}

// Run reads the list again and again until the context ends.
func (k *Keeper) Run(ctx context.Context) {
	ticker := time.NewTicker(k.cfg.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			k.refresh(ctx)
		}
	}
}

func (k *Keeper) refresh(ctx context.Context) {
	old := k.state.Load()
	next := k.read(ctx, old)
	if next == old || ctx.Err() != nil {
		return
	}
	k.state.Store(next)
	if next.err != nil {
		k.cfg.Failed(next.err)
		return
	}
	k.cfg.Changed(len(next.list))
}

// read gives the state behind another reading: old itself where it has shown
// nothing new.
func (k *Keeper) read(ctx context.Context, old *state) *state {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	text, err := k.cfg.Source(ctx)
	if err != nil {
		if old.err != nil && old.digest == ([sha256.Size]byte{}) {
			return old
		}
		return &state{list: old.list, err: fmt.Errorf("the list of tokens cannot be read: %w", err)}
	}
	digest := sha256.Sum256(text)
	if digest == old.digest {
		return old
	}
	read, err := parseList(text)
	if err != nil {
		return &state{list: old.list, digest: digest, err: err}
	}
	return &state{list: read, digest: digest}
}

// Check finds the token that is presented. The errors are ErrInvalid, and
// ErrExpired beside the token that was good once.
func (k *Keeper) Check(presented string) (Token, error) {
	return k.state.Load().list.check(presented, k.cfg.Now())
}

// Err says why an older list than the present one is in force; nil when none
// is.
func (k *Keeper) Err() error { return k.state.Load().err }
