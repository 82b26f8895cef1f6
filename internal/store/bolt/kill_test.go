package bolt

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"

	"postern/internal/campaign"
	"postern/internal/store"
	"postern/internal/store/storetest"
)

// victimVariable names the directory in which this test binary, started
// again, writes until it is killed.
const victimVariable = "POSTERN_BOLT_VICTIM"

const (
	victimChunks = 8
	victimRows   = 10 // in a checkpoint
	killAfter    = 300
)

// acknowledged is a line of the victim: what a Checkpoint that has returned
// had made durable.
type acknowledged struct {
	campaign string
	number   int
	version  int64
	rows     int // the chunk has rows 0..rows-1
}

const acknowledgedFormat = "%s %d %d %d\n"

// beVictim writes checkpoints to several chunks at a time and prints each one
// once it is acknowledged.
func beVictim(dir string) {
	s, err := Open(dir)
	if err != nil {
		panic(err)
	}
	var group sync.WaitGroup
	for _, held := range heldChunks(victimTB{}, s, victimChunks, store.MaxChunkRecipients) {
		group.Go(func() {
			settled := campaign.NewBitmap(held.Size)
			for from := 0; from < held.Size; from += victimRows {
				for i := range victimRows {
					settled.Add(from + i)
				}
				cp := store.Checkpoint{Deliveries: rows(from, from+victimRows), Progress: campaign.Progress{Settled: settled}}
				var err error
				if held, err = s.Checkpoint(context.Background(), held, cp); err != nil {
					panic(err)
				}
				// One write to a pipe below its atomic size: lines do not mix.
				fmt.Printf(acknowledgedFormat, held.Key.CampaignID, held.Key.Number, held.Version, from+victimRows)
			}
		})
	}
	group.Wait()
	_, _ = io.Copy(io.Discard, os.Stdin) // until killed
}

// victimTB is a testing.TB for the process that runs no test.
type victimTB struct{ testing.TB }

func (victimTB) Helper()           {}
func (victimTB) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// TestKill kills a process that writes, with SIGKILL, and finds all that it
// was told is durable.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	last := killVictim(t, dir)
	s := openIn(t, dir)
	var written int64
	id := ""
	for _, want := range last {
		id = want.campaign
		key := store.LeaseKey{CampaignID: want.campaign, Number: want.number}
		l, err := s.GetLease(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Deliveries(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if l.Version < want.version || len(got) < want.rows {
			t.Errorf("chunk %d: version %d and %d rows are there, acknowledged were %d and %d", want.number, l.Version, len(got), want.version, want.rows)
		}
		for i, d := range got {
			if d.Index != i || d.State != campaign.DeliverySent || !l.Progress.Settled.Has(i) {
				t.Fatalf("chunk %d, row %d: %+v, settled %v", want.number, i, d, l.Progress.Settled.Has(i))
			}
		}
		written += int64(len(got))
	}
	totals, err := s.Totals(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if totals.Sent != written {
		t.Errorf("totals say %d sent, there are %d rows", totals.Sent, written)
	}
	storetest.CheckTrail(t, s, id)
}

// killVictim runs a victim, kills it in the middle, and gives the last
// acknowledgement of each chunk.
func killVictim(t *testing.T, dir string) map[int]acknowledged {
	t.Helper()
	victim := exec.CommandContext(t.Context(), os.Args[0])
	victim.Env = append(os.Environ(), victimVariable+"="+dir)
	victim.Stderr = os.Stderr
	if _, err := victim.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	last, count, killed := map[int]acknowledged{}, 0, false
	for lines := bufio.NewScanner(out); lines.Scan(); count++ {
		var a acknowledged
		if _, err := fmt.Sscanf(lines.Text()+"\n", acknowledgedFormat, &a.campaign, &a.number, &a.version, &a.rows); err != nil {
			t.Fatalf("line %q: %v", lines.Text(), err)
		}
		last[a.number] = a
		if count == killAfter/2 {
			mustNotOpen(t, dir, "in use by another process")
		}
		if !killed && count >= killAfter && len(last) == victimChunks {
			killed = true
			if err := victim.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := victim.Wait(); err == nil || victim.ProcessState.ExitCode() != -1 {
		t.Fatalf("the victim ended by itself: %v", victim.ProcessState)
	}
	if len(last) != victimChunks || count < killAfter {
		t.Fatalf("%d lines about %d chunks", count, len(last))
	}
	return last
}
