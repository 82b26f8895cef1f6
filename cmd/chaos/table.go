package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// row is a line of the table: what one kind of scenario has come to.
type row struct {
	store   string
	tasks   int
	promise string
	fault   kind

	kills, apart                                    map[kind]int
	recipients, messages, lost, duplicates, unknown int
	bound, polls, trails                            int
	unsigned                                        time.Duration // the longest wait for a trail's signature
	violations                                      []string
}

func (r *row) add(c *course, o outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	bound := c.bound
	if c.promise == atMostOnce {
		bound = 0
	}
	r.merge(row{
		kills: c.kills, apart: c.apart, recipients: o.recipients, messages: o.messages, lost: o.lost,
		duplicates: o.duplicates, unknown: o.unknown, bound: bound, polls: c.polls, trails: o.trails, unsigned: o.unsigned, violations: c.violations,
	})
}

func (r *row) merge(o row) {
	addAll(r.kills, o.kills)
	addAll(r.apart, o.apart)
	r.recipients += o.recipients
	r.messages += o.messages
	r.lost += o.lost
	r.duplicates += o.duplicates
	r.unknown += o.unknown
	r.bound += o.bound
	r.polls += o.polls
	r.trails += o.trails
	r.unsigned = max(r.unsigned, o.unsigned)
	r.violations = append(r.violations, o.violations...)
}

func addAll(into, from map[kind]int) {
	for k, n := range from {
		into[k] += n
	}
}

func sum(m map[kind]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

const lineFormat = "| %-8s | %5v | %-13s | %-42s | %5v | %5v | %10v | %8v | %4v | %10v | %5v | %7v | %6v | %10v |\n"

// printTable prints the rows, those of the same kind as one, and their sum. As
// Markdown it can be pasted into the documents.
func printTable(w io.Writer, rows []row) {
	_, _ = fmt.Fprintf(w, lineFormat, "store", "tasks", "promise", "fault", "kills", "apart", "recipients", "messages",
		"lost", "duplicates", "bound", "unknown", "trails", "violations")
	widths := []int{8, 5, 13, 42, 5, 5, 10, 8, 4, 10, 5, 7, 6, 10}
	for _, n := range widths {
		_, _ = io.WriteString(w, "|"+strings.Repeat("-", n+2))
	}
	_, _ = io.WriteString(w, "|\n")
	total := row{store: "all", kills: map[kind]int{}, apart: map[kind]int{}}
	for _, r := range merged(rows) {
		printRow(w, r)
		total.merge(r)
	}
	printRow(w, total)
}

func printRow(w io.Writer, r row) {
	tasks := fmt.Sprint(r.tasks)
	if r.tasks == 0 {
		tasks = ""
	}
	_, _ = fmt.Fprintf(w, lineFormat, r.store, tasks, r.promise, r.fault, sum(r.kills), sum(r.apart), r.recipients, r.messages,
		r.lost, r.duplicates, r.bound, r.unknown, r.trails, len(r.violations))
}

func merged(rows []row) (all []row) {
	for _, r := range rows {
		same := func(o row) bool {
			return o.store == r.store && o.tasks == r.tasks && o.promise == r.promise && o.fault == r.fault
		}
		i := slices.IndexFunc(all, same)
		if i < 0 {
			r.kills, r.apart = maps.Clone(r.kills), maps.Clone(r.apart)
			all = append(all, r)
			continue
		}
		all[i].merge(r)
	}
	kinds := slices.Concat(killSteps(false), disturbances(false))
	slices.SortStableFunc(all, func(a, b row) int {
		place := func(k kind) int {
			if i := slices.Index(kinds, k); i >= 0 {
				return i
			}
			return len(kinds)
		}
		return cmp.Or(cmp.Compare(a.tasks, b.tasks), cmp.Compare(a.promise, b.promise), cmp.Compare(place(a.fault), place(b.fault)))
	})
	return all
}

// printSteps prints how often each step was hit.
func printSteps(w io.Writer, rows []row) {
	kills, apart, polls := map[kind]int{}, map[kind]int{}, 0
	for _, r := range rows {
		addAll(kills, r.kills)
		addAll(apart, r.apart)
		polls += r.polls
	}
	_, _ = fmt.Fprintf(w, "\n| %-42s | kills | apart |\n|%s|------:|------:|\n", "step", strings.Repeat("-", 44))
	for _, k := range killSteps(false) {
		_, _ = fmt.Fprintf(w, "| %-42s | %5d | %5d |\n", k, kills[k], apart[k])
	}
	_, _ = fmt.Fprintf(w, "\n%d polls of the totals\n", polls)
}

// printTrails prints how many audit trails have passed.
func printTrails(w io.Writer, rows []row) {
	trails, unsigned := 0, time.Duration(0)
	for _, r := range rows {
		trails, unsigned = trails+r.trails, max(unsigned, r.unsigned)
	}
	_, _ = fmt.Fprintf(w, "%d audit trails verified; the longest wait for a signature was %s\n", trails, unsigned.Round(100*time.Millisecond))
}
