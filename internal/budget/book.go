package budget

import (
	"encoding/json"
	"fmt"
	"slices"

	"postern/internal/store"
)

// book is the value of an account's cell.
type book struct {
	// Writer and Beat name the last write, so no two values are equal.
	Writer string `json:"writer"`
	Beat   int64  `json:"beat"`
	// Turn is the last turn that was given to a task.
	Turn  int64   `json:"turn,omitempty"`
	Tasks []entry `json:"tasks,omitempty"`
	Day   day     `json:"day,omitzero"`
}

// entry is one task's part.
type entry struct {
	// ID names one opening of the account by one start of a task.
	ID   string `json:"id"`
	Beat int64  `json:"beat"`
	// Turn orders the tasks where there is not something for all of them: the
	// lowest come first.
	Turn int64 `json:"turn,omitempty"`
	// Wants is how many connections the task could use.
	Wants int `json:"wants,omitempty"`
	part
}

// part is a piece of a budget.
type part struct {
	Connections int     `json:"connections,omitempty"`
	Rate        float64 `json:"rate,omitempty"` // messages a second
}

// least gives the smaller of each.
func (p part) least(q part) part {
	return part{Connections: min(p.Connections, q.Connections), Rate: min(p.Rate, q.Rate)}
}

func readBook(c store.Cell) (book, error) {
	var b book
	if c.Version == 0 {
		return b, nil
	}
	if err := json.Unmarshal(c.Value, &b); err != nil {
		return b, fmt.Errorf("the cell of a relay's budget: %w", err)
	}
	return b, nil
}

// find gives a task's entry, the zero one where there is none.
func (b book) find(id string) entry {
	for _, e := range b.Tasks {
		if e.ID == id {
			return e
		}
	}
	return entry{}
}

// without gives the book without the entries for which gone says so.
func (b book) without(gone func(entry) bool) book {
	b.Tasks = slices.DeleteFunc(slices.Clone(b.Tasks), gone)
	return b
}

// with gives the book with the entry in the place of its task's former one.
func (b book) with(e entry) book {
	b = b.without(func(old entry) bool { return old.ID == e.ID })
	b.Tasks = append(b.Tasks, e)
	return b
}

// free is what the tasks but one leave of the caps. It is negative where caps
// were lowered.
func (b book) free(id string, c Caps) part {
	p := part{Connections: c.Connections, Rate: c.Rate}
	for _, e := range b.Tasks {
		if e.ID != id {
			p.Connections -= e.Connections
			p.Rate -= e.Rate
		}
	}
	return p
}
