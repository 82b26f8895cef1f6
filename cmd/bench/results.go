package main

import (
	"encoding/json"
	"os"
	"slices"
	"time"
)

// work is what contenders do in turn, and compare in.
type work struct {
	Part        string
	Connections int
	Attachment  int // octets
	Contacts    int // of a campaign
	Delayed     bool
}

// contestants that are not contenders of this program, and what campaigns are
// called.
const (
	smtpSource       = "smtp-source"
	wholeCampaign    = "campaign"
	campaignUnderAPI = "campaign, API under load"
)

// series is what one contender did in a work, round by round.
type series struct {
	Work      work
	Contender string
	Samples   []sample
}

// machine is where a run was made.
type machine struct {
	Date, Revision, Go, Processor, Kernel string
	Cores                                 int
	LoadBefore, LoadAfter                 string
	Rounds                                int
	Quick                                 bool
}

// profile is what a contender spends its time on.
type profile struct {
	Part string
	Of   string // the bar's work
	Text string
}

// results are all of a run.
type results struct {
	Parts       []partRun
	Proxy       proxyCheck
	MessageSize int // octets, without an attachment
	Series      []*series
	Load        [][]latencies   // by round
	Syncs       []time.Duration // of the disk, before each round of campaigns
	Profiles    []profile
}

// partRun is where and when a part was measured.
type partRun struct {
	Part string
	machine
}

// forget drops what an earlier run has measured of a part.
func (r *results) forget(part string) {
	r.Parts = slices.DeleteFunc(r.Parts, func(p partRun) bool { return p.Part == part })
	r.Series = slices.DeleteFunc(r.Series, func(s *series) bool { return s.Work.Part == part })
	r.Profiles = slices.DeleteFunc(r.Profiles, func(p profile) bool { return p.Part == part })
	switch part {
	case partLoad:
		r.Load = nil
	case partCampaign:
		r.Syncs = nil
	}
}

// add notes a sample.
func (r *results) add(w work, contender string, s sample) {
	found := r.find(w, contender)
	if found == nil {
		found = &series{Work: w, Contender: contender}
		r.Series = append(r.Series, found)
	}
	found.Samples = append(found.Samples, s)
}

// find gives a series, nil where there is none.
func (r *results) find(w work, contender string) *series {
	i := slices.IndexFunc(r.Series, func(s *series) bool { return s.Work == w && s.Contender == contender })
	if i < 0 {
		return nil
	}
	return r.Series[i]
}

func readResults(path string) (*results, error) {
	data, err := os.ReadFile(path) //nolint:gosec // G304: the user's file
	if err != nil {
		return nil, err
	}
	var r results
	return &r, json.Unmarshal(data, &r)
}

func (r *results) save(path string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644) //nolint:gosec // G306: figures that are published
}

// spread is the median of the rounds with their least and most.
type spread struct {
	Median, Least, Most float64
	Measured            bool
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return spread{
		Median: (values[(n-1)/2] + values[n/2]) / 2, Least: values[0], Most: values[n-1], Measured: true,
	}
}

// each gives a figure of every round; of no series there is none.
func (s *series) each(figure func(sample) float64) (all []float64) {
	if s == nil {
		return nil
	}
	for _, one := range s.Samples {
		all = append(all, figure(one))
	}
	return all
}

func (s *series) of(figure func(sample) float64) spread { return spreadOf(s.each(figure)) }

// Sync is how long the disk took to make a page durable, in milliseconds.
func (r *results) Sync() spread {
	var all []float64
	for _, d := range r.Syncs {
		all = append(all, float64(d)/float64(time.Millisecond))
	}
	return spreadOf(all)
}

// ratio compares two series round by round, so that what the machine does
// meanwhile concerns both.
func ratio(a, b *series, figure func(sample) float64) spread {
	return pairwise(a, b, figure, func(x, y float64) float64 { return x / y })
}

func difference(a, b *series, figure func(sample) float64) spread {
	return pairwise(a, b, figure, func(x, y float64) float64 { return x - y })
}

func pairwise(a, b *series, figure func(sample) float64, combine func(x, y float64) float64) spread {
	left, right := a.each(figure), b.each(figure)
	var all []float64
	for i := range min(len(left), len(right)) {
		all = append(all, combine(left[i], right[i]))
	}
	return spreadOf(all)
}

// Figures of a sample.
func rateOf(s sample) float64 { return s.rate() }
func cpuOf(s sample) float64  { return s.cpuPerThousand() }
func peakOfMB(s sample) float64 {
	return float64(s.PeakAnon) / 1e6
}
