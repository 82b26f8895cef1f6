package storetest

import (
	"fmt"
	"strings"
	"sync"

	"postern/internal/campaign"
	"postern/internal/store"
)

func cellTests() []test {
	return []test{
		{"cells/way of a cell", testCellWay},
		{"cells/the same call again", testCellAgain},
		{"cells/sizes and keys", testCellSizes},
		{"cells/concurrent swappers", testCellRace},
	}
}

func (k kit) cell(key string) store.Cell {
	k.Helper()
	c, err := k.s.GetCell(k.Context(), key)
	k.ok(err, "GetCell")
	return c
}

func (k kit) swap(key string, seen store.Cell, value string) store.Cell {
	k.Helper()
	c, err := k.s.SwapCell(k.Context(), key, seen, []byte(value))
	k.ok(err, "SwapCell")
	k.same(c, store.Cell{Version: seen.Version + 1, Value: []byte(value)}, "what SwapCell returned")
	k.same(k.cell(key), c, "the cell behind SwapCell")
	return c
}

func testCellWay(k kit) {
	none := k.cell(k.prefix)
	k.same(none, store.Cell{}, "a cell that is not there")
	_, err := k.s.SwapCell(k.Context(), k.prefix, store.Cell{Version: 1}, []byte("x"))
	k.fails(err, campaign.CodeConflict, "SwapCell of a cell that is not there")
	k.same(k.cell(k.prefix), none, "the cell after a refused SwapCell")

	first := k.swap(k.prefix, none, "first")
	_, err = k.s.SwapCell(k.Context(), k.prefix, none, []byte("another first"))
	k.fails(err, campaign.CodeConflict, "SwapCell that makes a cell which is there")
	second := k.swap(k.prefix, first, "second")
	for _, seen := range []store.Cell{none, first, {Version: second.Version + 1}} {
		_, err = k.s.SwapCell(k.Context(), k.prefix, seen, []byte("late"))
		k.fails(err, campaign.CodeConflict, fmt.Sprintf("SwapCell with version %d of %d", seen.Version, second.Version))
	}
	k.same(k.cell(k.prefix), second, "the cell after refused calls")
	k.same(k.cell(k.prefix+" other"), none, "another cell")
}

// testCellAgain repeats a call whose answer was lost: at once, and after
// another has swapped the cell.
func testCellAgain(k kit) {
	seen := k.cell(k.prefix)
	for n := range 3 {
		mine := fmt.Sprint("mine ", n)
		first := k.swap(k.prefix, seen, mine)
		again, err := k.s.SwapCell(k.Context(), k.prefix, seen, []byte(mine))
		k.ok(err, "the same SwapCell again")
		k.same(again, first, "what the repeated SwapCell returned")
		k.same(k.cell(k.prefix), first, "the cell after a repeated SwapCell")
		theirs := k.swap(k.prefix, first, fmt.Sprint("theirs ", n))
		_, err = k.s.SwapCell(k.Context(), k.prefix, seen, []byte(mine))
		k.fails(err, campaign.CodeConflict, "the same SwapCell after another's")
		k.same(k.cell(k.prefix), theirs, "the other's cell")
		seen = theirs
	}
}

func testCellSizes(k kit) {
	keys := []string{
		k.prefix, k.prefix + " ü/☂ \x00 {\"a\":1}", k.prefix + "#", k.prefix + "relay.example.org:587:user@example.org",
	}
	for i, key := range keys {
		value := string(randomBytes(store.MaxCellOctets - i))
		seen := k.swap(key, store.Cell{}, value)
		k.swap(key, seen, "")
	}
}

// testCellRace lets tasks change one cell at the same time, each by reading it
// and adding its line: no line is lost.
func testCellRace(k kit) {
	const swappers, lines = 16, 12
	var group sync.WaitGroup
	for i := range swappers {
		group.Go(func() {
			for n := range lines {
				if err := k.addLine(fmt.Sprintf("%02d %02d\n", i, n)); err != nil {
					k.Errorf("%v", err)
					return
				}
			}
		})
	}
	group.Wait()
	got := k.cell(k.prefix)
	want := store.Cell{Version: swappers * lines, Value: got.Value}
	k.same(got, want, "the cell")
	seen := map[string]int{}
	for line := range strings.Lines(string(got.Value)) {
		seen[line]++
	}
	for i := range swappers {
		for n := range lines {
			if line := fmt.Sprintf("%02d %02d\n", i, n); seen[line] != 1 {
				k.Fatalf("line %q is there %d times", line, seen[line])
			}
		}
	}
}

// addLine adds a line to the test's cell, as often as it takes.
func (k kit) addLine(line string) error {
	for {
		seen, err := k.s.GetCell(k.Context(), k.prefix)
		if err != nil {
			return err
		}
		_, err = k.s.SwapCell(k.Context(), k.prefix, seen, append(seen.Value, line...))
		if campaign.CodeOf(err) != campaign.CodeConflict {
			return err
		}
	}
}
