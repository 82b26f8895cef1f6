package audit

import (
	"fmt"

	"postern/internal/campaign"
)

// Report is what a check of an export has found.
type Report struct {
	CampaignID string
	Name       string
	Status     campaign.Status
	Chunks     int
	Events     int64
	Links      int64 // of the chunks' chains
	Rows       int
	Roots      int
	// Root is the last root's link: whoever has noted its hash elsewhere can
	// tell that nothing in front of it was changed since, not even with the
	// service's keys.
	Root campaign.Link
	// Unsigned counts links of chunks that no root covers yet, and
	// UnsignedEvents events behind the last root and the last signed event.
	Unsigned       int64
	UnsignedEvents int64
	// Unchecked counts rows whose address was not compared with its record: it
	// is erased, or its key is not at hand.
	Unchecked int
	// AtWork counts chunks that were changing, so that their rows were left out.
	AtWork int
	// Problems are in the order in which they were found, the first
	// MaxProblems of them; Broken counts all.
	Problems []Problem
	Broken   int
}

// Proven says whether nothing is wrong, and a signed root covers all that is
// there. A trail that is not under a root might have been made anew as a whole
// by somebody who can write the store, hashes and all.
func (r Report) Proven() bool {
	return r.Broken == 0 && r.Roots > 0 && r.Unsigned == 0 && r.UnsignedEvents == 0 && r.AtWork == 0
}

// MaxProblems bounds how many problems a Report names.
const MaxProblems = 20

// Problem is something that is not as the trail says.
type Problem struct {
	Chunk int   // 0: the campaign's own chain
	Link  int64 // the first link concerned; 0 where it is none in particular
	Text  string
}

// String says where the problem is, and what it is.
func (p Problem) String() string {
	where := "the campaign's own chain"
	if p.Chunk > 0 {
		where = fmt.Sprintf("chunk %d", p.Chunk)
	}
	if p.Link > 0 {
		where += fmt.Sprintf(", link %d", p.Link)
	}
	return where + ": " + p.Text
}

func (r *Report) problem(chunk int, link int64, format string, args ...any) {
	r.Broken++
	if len(r.Problems) < MaxProblems {
		r.Problems = append(r.Problems, Problem{Chunk: chunk, Link: link, Text: fmt.Sprintf(format, args...)})
	}
}
