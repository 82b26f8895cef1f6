package bolt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"postern/internal/campaign"
)

// TestGroupSurvivesFailures: a conflict costs the others nothing, and what a
// write had done before it failed is undone without the others' loss.
func TestGroupSurvivesFailures(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	conflict, late := campaign.Errorf(campaign.CodeConflict, "conflict"), campaign.Errorf(campaign.CodeInternal, "late")
	runs := make([]int, 4)
	put := func(i int, err error) *write {
		return &write{done: make(chan error, 1), fn: func(tx *tx) error {
			runs[i]++
			return errors.Join(tx.put(metaBucket, fmt.Append(nil, "k", i), []byte("v")), err)
		}}
	}
	group := []*write{
		put(0, nil),
		{done: make(chan error, 1), fn: func(*tx) error { runs[1]++; return conflict }},
		put(2, late),
		put(3, nil),
	}
	s.commits.commit(group)
	for i, want := range []error{nil, conflict, late, nil} {
		if got := <-group[i].done; !errors.Is(got, want) {
			t.Errorf("write %d: %v, want %v", i, got, want)
		}
	}
	if fmt.Sprint(runs) != "[2 2 1 1]" {
		t.Errorf("runs of each write are %v", runs)
	}
	err := s.view(t.Context(), func(tx *tx) error {
		for i, want := range []string{"v", "", "", "v"} {
			if got := string(tx.get(metaBucket, fmt.Append(nil, "k", i))); got != want {
				t.Errorf("key %d is %q, want %q", i, got, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestWritersShareCommit holds the committer up until ten writers wait: the
// next commit has all of them, save one who gave up.
func TestWritersShareCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openIn(t, t.TempDir())
		proceed := make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() {
			_ = s.update(t.Context(), func(*tx) error { <-proceed; return nil })
		})
		synctest.Wait()

		ids := make([]int, 10)
		for i := range ids {
			group.Go(func() {
				err := s.update(t.Context(), func(tx *tx) error {
					ids[i] = tx.bolt.ID()
					return tx.put(metaBucket, fmt.Append(nil, i), nil)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		ctx, giveUp := context.WithCancel(t.Context())
		group.Go(func() {
			err := s.update(ctx, func(*tx) error { t.Error("a write ran that was taken back"); return nil })
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error of the write that was taken back: %v", err)
			}
		})
		synctest.Wait()
		giveUp()
		synctest.Wait()
		close(proceed)
		group.Wait()
		for _, id := range ids {
			if id == 0 || id != ids[0] {
				t.Fatalf("the writers' transactions are %v, want one", ids)
			}
		}
	})
}
