package budget

import (
	"cmp"
	"math"
	"slices"
)

// queue gives the tasks that want something, in turn.
func queue(tasks []entry) []entry {
	wanting := slices.DeleteFunc(slices.Clone(tasks), func(e entry) bool { return e.Wants == 0 })
	slices.SortFunc(wanting, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.Turn, b.Turn), cmp.Compare(a.ID, b.ID))
	})
	return wanting
}

// places is how many tasks may have a part at the same time: each has at least
// one connection and, under a rate, one message a second.
func (c Caps) places() int {
	if c.Rate > 0 {
		return min(c.Connections, max(1, int(c.Rate)))
	}
	return c.Connections
}

// split says what each of the tasks should have. The tasks are those at the
// front of the queue, at most places of them.
func split(tasks []entry, c Caps) map[string]part {
	parts := make(map[string]part, len(tasks))
	connections := splitConnections(tasks, c.Connections)
	rates := splitRate(connections, c.Rate)
	for i, e := range tasks {
		parts[e.ID] = part{Connections: connections[i], Rate: rates[i]}
	}
	return parts
}

// splitConnections deals connections out one by one: first to those who want
// more, which makes it max-min fair, then to all.
func splitConnections(tasks []entry, left int) []int {
	parts := make([]int, len(tasks))
	deal := func(more func(i int) bool) {
		for dealt := true; dealt; {
			dealt = false
			for i := range parts {
				if left > 0 && more(i) {
					parts[i]++
					left--
					dealt = true
				}
			}
		}
	}
	deal(func(i int) bool { return parts[i] < tasks[i].Wants })
	deal(func(int) bool { return true })
	return parts
}

// splitRate gives each task one message a second, and the rest by connections
// in whole messages; what cannot be divided goes to the first ones.
func splitRate(connections []int, limit float64) []float64 {
	parts := make([]float64, len(connections))
	if limit == 0 || len(parts) == 0 {
		return parts
	}
	all := 0
	for _, n := range connections {
		all += n
	}
	rest := max(0, math.Floor(limit)-float64(len(parts)))
	left := limit
	for i, n := range connections {
		parts[i] = min(left, 1+math.Floor(rest*float64(n)/float64(all)))
		left -= parts[i]
	}
	for i := 0; left > 0; i = (i + 1) % len(parts) {
		more := min(1, left)
		parts[i] += more
		left -= more
	}
	return parts
}
