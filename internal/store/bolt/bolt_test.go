package bolt

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"postern/internal/campaign"
	"postern/internal/store"
	"postern/internal/store/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimVariable); dir != "" {
		beVictim(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func openIn(tb testing.TB, dir string) *Store {
	tb.Helper()
	s, err := Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	closeAtEnd(tb, s)
	return s
}

func closeAtEnd(tb testing.TB, s *Store) {
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Harness{
		Open: func(t *testing.T) store.Store { return openIn(t, t.TempDir()) },
		Reopen: func(t *testing.T, s store.Store) store.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return openIn(t, filepath.Dir(s.(*Store).path))
		},
		Damages: map[string]func(t *testing.T, s store.Store, id string){
			"no JSON":            damageCampaign(func(value []byte) []byte { return value[:len(value)-1] }),
			"no octets":          damageCampaign(func([]byte) []byte { return nil }),
			"another campaign's": damageCampaign(func(value []byte) []byte { return bytes.Replace(value, []byte(`"ID":"`), []byte(`"ID":"x`), 1) }),
			"no campaign's":      damageCampaign(func([]byte) []byte { return []byte("{}") }),
			"a status that is none": damageCampaign(func(value []byte) []byte {
				return bytes.Replace(value, []byte(`"Status":"p`), []byte(`"Status":"q`), 1)
			}),
		},
	}.Run(t)
}

// damageCampaign changes what is stored of a campaign.
func damageCampaign(change func(value []byte) []byte) func(t *testing.T, s store.Store, id string) {
	return func(t *testing.T, s store.Store, id string) {
		t.Helper()
		err := s.(*Store).update(t.Context(), func(t *tx) error {
			return t.put(campaignsBucket, []byte(id), change(slices.Clone(t.get(campaignsBucket, []byte(id)))))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenMakesPrivateFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	openIn(t, dir)
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, FileName): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

// mustNotOpen sees that opening fails with a message that has the words.
func mustNotOpen(t *testing.T, dir, words string) {
	t.Helper()
	s, err := Open(dir)
	if err == nil {
		_ = s.Close()
		t.Fatalf("Open succeeded, want an error with %q", words)
	}
	if campaign.CodeOf(err) != campaign.CodeUnavailable || !strings.Contains(err.Error(), words) {
		t.Fatalf("Open: %v (code %s), want code %s and %q", err, campaign.CodeOf(err), campaign.CodeUnavailable, words)
	}
}

func TestOpenTwice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	openIn(t, dir)
	begin := time.Now()
	mustNotOpen(t, dir, "in use by another process")
	if took := time.Since(begin); took > 30*lockPatience {
		t.Errorf("the refusal took %s", took)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	t.Run("another file", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileName), []byte(strings.Repeat("not a database ", 2000)), 0o600); err != nil {
			t.Fatal(err)
		}
		mustNotOpen(t, dir, "not a database of Postern")
	})
	for _, other := range []string{"2", "4"} {
		t.Run("format "+other, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			corrupt(t, s, metaBucket, []byte(formatKey), []byte(other))
			err = s.db.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(auditBucket)) }) // which others do not have
			if err := errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(filepath.Join(dir, FileName))
			if err != nil {
				t.Fatal(err)
			}
			writer := map[string]string{"2": "an older version", "4": "a newer version"}[other]
			for _, words := range []string{`has format "` + other + `"`, writer, "unharmed", "another DATA_DIR", "key file"} {
				mustNotOpen(t, dir, words) // the refusal has let go of the lock
				if s, trials := Examine(t.Context(), dir); s != nil || !strings.Contains(trials[len(trials)-1].Detail, words) {
					t.Errorf("the examination says %+v", trials)
				}
			}
			if after, err := os.ReadFile(filepath.Join(dir, FileName)); err != nil || !bytes.Equal(after, before) {
				t.Errorf("the file was changed, %v", err)
			}
		})
	}
	t.Run("a file in the directory's place", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		mustNotOpen(t, path, "permissions")
		mustNotOpen(t, filepath.Join(path, "below"), "cannot make the data directory")
	})
}

// corrupt puts a value of no encoder's into a bucket.
func corrupt(t *testing.T, s *Store, bucket string, key, value []byte) {
	t.Helper()
	err := s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucket)).Put(key, value) })
	if err != nil {
		t.Fatal(err)
	}
}

func TestPingSeesMissingBucket(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	if err := s.db.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(totalsBucket)) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); campaign.CodeOf(err) != campaign.CodeInternal || !strings.Contains(err.Error(), totalsBucket) {
		t.Fatalf("Ping: %v", err)
	}
}

func TestClosedStoreAnswers(t *testing.T) {
	t.Parallel()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // closing again is harmless
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ping(t.Context()); campaign.CodeOf(err) != campaign.CodeUnavailable {
		t.Errorf("Ping of a closed store: %v", err)
	}
	if err := s.DeleteContact(t.Context(), "a@example.org"); campaign.CodeOf(err) != campaign.CodeUnavailable {
		t.Errorf("DeleteContact of a closed store: %v", err)
	}
}

// TestFullDisk sees that a write without space changes nothing, says what to
// do, and succeeds once there is space.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := open(dir, options{maxOctets: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	held := heldChunks(t, s, 1, store.MaxChunkRecipients)[0]
	cp := store.Checkpoint{Deliveries: rows(0, store.MaxCheckpoint)}
	before := held
	for range 1000 {
		before = held
		if held, err = s.Checkpoint(t.Context(), held, cp); err != nil {
			break
		}
	}
	if campaign.CodeOf(err) != campaign.CodeUnavailable || !strings.Contains(err.Error(), "no space is left") {
		t.Fatalf("Checkpoint on a full disk: %v (code %s)", err, campaign.CodeOf(err))
	}
	now, err := s.GetLease(t.Context(), before.Key)
	if err != nil || now.Version != before.Version {
		t.Fatalf("the lease behind a failed write: %+v, %v; want version %d", now, err, before.Version)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openIn(t, dir)
	if held, err = s.Checkpoint(t.Context(), before, cp); err != nil || held.Version != before.Version+1 {
		t.Fatalf("the same Checkpoint with space: %+v, %v", held, err)
	}
}
