package budget

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// wanting makes entries that want so many connections, in turn.
func wanting(wants ...int) []entry {
	tasks := make([]entry, len(wants))
	for i, n := range wants {
		tasks[i] = entry{ID: fmt.Sprintf("t%d", i), Turn: int64(i + 1), Wants: n}
	}
	return tasks
}

func TestSplit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		wants       []int
		caps        Caps
		connections []int
		rates       []float64
	}{
		{"one task has all, whatever it wants", []int{1}, Caps{10, 0.5, 0}, []int{10}, []float64{0.5}},
		{"equal wants", []int{8, 8, 8, 8}, Caps{8, 500, 0}, []int{2, 2, 2, 2}, []float64{125, 125, 125, 125}},
		{"a small want is met, the rest is shared", []int{1, 9, 9}, Caps{9, 90, 0}, []int{1, 4, 4}, []float64{11, 40, 39}},
		{"what is left goes to the first", []int{5, 5, 5}, Caps{5, 0, 0}, []int{2, 2, 1}, []float64{0, 0, 0}},
		{"what nobody wants is spread", []int{1, 2}, Caps{9, 0, 0}, []int{4, 5}, []float64{0, 0}},
		{"whole messages a second, but for one", []int{5, 5}, Caps{10, 5.5, 0}, []int{5, 5}, []float64{3, 2.5}},
		{"a message a second each at least", []int{1, 9}, Caps{10, 3, 0}, []int{1, 9}, []float64{2, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tasks := wanting(tt.wants...)
			parts := split(tasks, tt.caps)
			for i, e := range tasks {
				want := part{tt.connections[i], tt.rates[i]}
				if got := parts[e.ID]; got != want {
					t.Errorf("%s has %+v, want %+v", e.ID, got, want)
				}
			}
		})
	}
}

func TestSplitIsFairAndWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := Caps{
			Connections: rapid.IntRange(1, 40).Draw(t, "connections"),
			Rate:        float64(rapid.IntRange(0, 2000).Draw(t, "rate in quarters")) / 4,
		}
		wants := rapid.SliceOfN(rapid.IntRange(1, 50), 1, 12).Draw(t, "wants")
		tasks := queue(wanting(wants...))
		tasks = tasks[:min(len(tasks), c.places())]
		parts := split(tasks, c)
		checkConnections(t, tasks, parts, c)
		checkRates(t, parts, c)
	})
}

func checkConnections(t *rapid.T, tasks []entry, parts map[string]part, c Caps) {
	sum := 0
	for _, e := range tasks {
		p := parts[e.ID].Connections
		sum += p
		if p < 1 {
			t.Fatalf("%s has a place and no connection", e.ID)
		}
		if p >= e.Wants {
			continue
		}
		// Max-min fair: nobody has more than one more than one who wants more,
		// unless by that same rule.
		for _, other := range tasks {
			if parts[other.ID].Connections > p+1 {
				t.Fatalf("%s wants %d and has %d, and %s has %d", e.ID, e.Wants, p, other.ID, parts[other.ID].Connections)
			}
		}
	}
	if sum != c.Connections {
		t.Fatalf("%d connections of %d are split", sum, c.Connections)
	}
}

func checkRates(t *rapid.T, parts map[string]part, c Caps) {
	sum, broken := 0.0, 0
	for r := range maps.Values(parts) {
		sum += r.Rate
		if r.Rate != math.Floor(r.Rate) {
			broken++
		}
		if c.Rate >= 1 && r.Rate < 1 {
			t.Fatalf("a rate of %v", r.Rate)
		}
	}
	if sum != c.Rate || broken > 1 {
		t.Fatalf("a rate of %v is split into %v", c.Rate, slices.Collect(maps.Values(parts)))
	}
}

func TestQueue(t *testing.T) {
	t.Parallel()
	tasks := []entry{{ID: "c", Turn: 2, Wants: 1}, {ID: "idle"}, {ID: "b", Turn: 1, Wants: 1}, {ID: "a", Turn: 2, Wants: 1}}
	var ids []string
	for _, e := range queue(tasks) {
		ids = append(ids, e.ID)
	}
	if want := []string{"b", "a", "c"}; !slices.Equal(ids, want) {
		t.Errorf("the queue is %v, want %v", ids, want)
	}
}
