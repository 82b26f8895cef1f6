package auth

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// kept is a Keeper at work on a file, under a fake clock.
type kept struct {
	*Keeper

	t       *testing.T
	path    string
	changed []int
	failed  []string
}

// keep writes a file and starts a Keeper on it. It belongs into a bubble.
func keep(t *testing.T, text string) *kept {
	t.Helper()
	k := &kept{t: t, path: filepath.Join(t.TempDir(), "tokens.jsonl")}
	k.write(text)
	var err error
	k.Keeper, err = Open(t.Context(), Config{
		Source: File(k.path), Every: time.Second, Now: func() time.Time { return noon },
		Changed: func(n int) { k.changed = append(k.changed, n) },
		Failed:  func(err error) { k.failed = append(k.failed, err.Error()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	go k.Run(t.Context())
	return k
}

func (k *kept) write(text string) {
	k.t.Helper()
	if err := os.WriteFile(k.path, []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// later lets n readings happen.
func (k *kept) later(n int) {
	time.Sleep(time.Duration(n)*time.Second + time.Millisecond)
	synctest.Wait()
}

// want fails the test unless exactly these tokens are good.
func (k *kept) want(when string, good, bad []string) {
	k.t.Helper()
	for _, token := range good {
		if _, err := k.Check(token); err != nil {
			k.t.Errorf("%s: %v", when, err)
		}
	}
	for _, token := range bad {
		if _, err := k.Check(token); !errors.Is(err, ErrInvalid) {
			k.t.Errorf("%s: a token is good, or %v", when, err)
		}
	}
}

func TestKeeperReloads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		one, oneLine := mint(t, reader("one"))
		two, twoLine := mint(t, reader("two"))
		k := keep(t, string(oneLine))
		k.want("at the start", []string{one}, []string{two})

		k.write(string(oneLine) + string(twoLine))
		k.later(2)
		k.want("added", []string{one, two}, nil)

		k.write(string(twoLine))
		k.later(2)
		k.want("revoked", []string{two}, []string{one})

		k.write(header)
		k.later(2)
		k.want("all revoked", nil, []string{one, two})
		if len(k.failed) > 0 || len(k.changed) != 3 || k.changed[2] != 0 || k.Err() != nil {
			t.Errorf("changed %v, failed %q, %v", k.changed, k.failed, k.Err())
		}
	})
}

// TestKeeperKeeps goes through what may become of the file. None of it locks
// anybody out or lets anybody in, and each fault is told once.
func TestKeeperKeeps(t *testing.T) {
	t.Parallel()
	one, oneLine := mint(t, reader("one"))
	two, twoLine := mint(t, reader("two"))
	both := string(oneLine) + string(twoLine)
	for name, spoil := range map[string]func(t *testing.T, path string){
		"empty":        func(t *testing.T, path string) { write(t, path, "") },
		"half-written": func(t *testing.T, path string) { write(t, path, both[:len(both)-30]) },
		"no list":      func(t *testing.T, path string) { write(t, path, "<html>not found</html>") },
		"too large":    func(t *testing.T, path string) { write(t, path, both+strings.Repeat("#\n", maxList/2)) },
		"gone":         func(t *testing.T, path string) { must(t, os.Remove(path)) },
		"a directory":  func(t *testing.T, path string) { must(t, os.Remove(path)); must(t, os.Mkdir(path, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				k := keep(t, string(oneLine))
				spoil(t, k.path)
				k.later(20)
				k.want(name, []string{one}, []string{two})
				if len(k.failed) != 1 || k.Err() == nil || len(k.changed) != 0 {
					t.Errorf("changed %v, failed %q, %v", k.changed, k.failed, k.Err())
				}
				must(t, os.RemoveAll(k.path))
				k.write(both)
				k.later(3)
				k.want("mended", []string{one, two}, nil)
				if k.Err() != nil || k.size() != 2 || len(k.failed) != 1 {
					t.Errorf("mended: changed %v, failed %q, %v", k.changed, k.failed, k.Err())
				}
			})
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestKeeperWaitsForTheWhole catches a file that is being written between two
// lines, which is a good list of fewer tokens.
func TestKeeperWaitsForTheWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		one, oneLine := mint(t, reader("one"))
		two, twoLine := mint(t, reader("two"))
		k := keep(t, string(oneLine)+string(twoLine))
		k.write(string(twoLine))
		k.later(1)
		k.want("half", []string{one, two}, nil)
		k.write(string(twoLine) + string(oneLine))
		k.later(3)
		k.want("whole", []string{one, two}, nil)
		if len(k.changed) != 1 || len(k.failed) != 0 {
			t.Errorf("changed %v, failed %q", k.changed, k.failed)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	broken := errors.New("no network")
	for name, source := range map[string]Source{
		"no file":  File(filepath.Join(t.TempDir(), "none")),
		"empty":    func(context.Context) ([]byte, error) { return nil, nil },
		"unread":   func(context.Context) ([]byte, error) { return nil, broken },
		"bad list": func(context.Context) ([]byte, error) { return []byte("{}"), nil },
	} {
		if k, err := Open(t.Context(), Config{Source: source, Every: time.Second, Now: time.Now}); err == nil || k != nil {
			t.Errorf("%s: %v, %v", name, k, err)
		}
	}
}

// TestKeeperOfAService: a source that does not answer is cut off, and what it
// gave before stays in force.
func TestKeeperOfAService(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		one, line := mint(t, reader("one"))
		var hangs atomic.Bool
		var failed []error
		k, err := Open(t.Context(), Config{
			Source: func(ctx context.Context) ([]byte, error) {
				if hangs.Load() {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return line, nil
			},
			Every: time.Minute, Now: func() time.Time { return noon },
			Changed: func(int) {}, Failed: func(err error) { failed = append(failed, err) },
		})
		must(t, err)
		go k.Run(t.Context())
		hangs.Store(true)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if _, err := k.Check(one); err != nil || len(failed) != 1 || !errors.Is(failed[0], context.DeadlineExceeded) {
			t.Errorf("%v, failed %v", err, failed)
		}
		hangs.Store(false)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if k.Err() != nil {
			t.Error(k.Err())
		}
	})
}

// TestReloadUnderLoad checks tokens from many goroutines while the file is
// replaced all the time: the one that is always there is always good, and the
// one that never is, never.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	stays, staysLine := mint(t, reader("stays"))
	never, _ := mint(t, reader("never"))
	_, comes := mint(t, reader("comes and goes"))
	path := filepath.Join(t.TempDir(), "tokens.jsonl")
	write(t, path, string(staysLine))
	ctx, cancel := context.WithCancel(t.Context())
	reloads := make(chan int, 100)
	k, err := Open(ctx, Config{
		Source: File(path), Every: time.Millisecond, Now: func() time.Time { return noon },
		Changed: func(n int) { reloads <- n }, Failed: func(error) {},
	})
	must(t, err)
	var running sync.WaitGroup
	running.Go(func() { k.Run(ctx) })
	for range 4 {
		running.Go(func() {
			for ctx.Err() == nil {
				if _, err := k.Check(stays); err != nil {
					t.Error(err)
					return
				}
				if _, err := k.Check(never); err == nil {
					t.Error("a token that is nowhere is good")
					return
				}
			}
		})
	}
	for range 10 {
		for want, text := range map[int]string{1: string(staysLine), 2: string(staysLine) + string(comes)} {
			write(t, path, text[:len(text)/3]) // as one that writes in pieces leaves it for a moment
			write(t, path, text)
			for k.size() != want {
				<-reloads
			}
		}
	}
	cancel()
	running.Wait()
}

// size is how many tokens are in force.
func (k *Keeper) size() int { return len(k.state.Load().list) }
