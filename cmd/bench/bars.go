package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// bar is one thing that Postern has to reach.
type bar struct {
	Work    string
	Limit   float64
	AtMost  bool
	Unit    string
	Format  string // of a figure
	Reached spread
	// of is what a profile is taken of where the bar is not met.
	of *contest
}

// contest is one contender at one work.
type contest struct {
	work      work
	contender string
	heap      bool // its memory is in question, not its time
}

// Met says whether the median of the rounds is within the limit.
func (b bar) Met() bool {
	if b.AtMost {
		return b.Reached.Median <= b.Limit
	}
	return b.Reached.Median >= b.Limit
}

// Rule is the limit in words.
func (b bar) Rule() string {
	way := "at least "
	if b.AtMost {
		way = "at most "
	}
	return way + fmt.Sprintf(b.Format, b.Limit) + " " + b.Unit
}

// Figure is what was reached, with the rounds' least and most.
func (b bar) Figure() string {
	if !b.Reached.Measured {
		return "-"
	}
	return fmt.Sprintf(b.Format+" ("+b.Format+" to "+b.Format+")", b.Reached.Median, b.Reached.Least, b.Reached.Most)
}

// Verdict is met, not met, or not measured.
func (b bar) Verdict() string {
	switch {
	case !b.Reached.Measured:
		return "not measured"
	case b.Met():
		return "met"
	default:
		return "not met"
	}
}

// Works that bars are about.
func mailerWork(connections, attachment int, delayed bool) work {
	return work{Part: partMailer, Connections: connections, Attachment: attachment, Delayed: delayed}
}

func campaignWork(contacts int) work {
	return work{Part: partCampaign, Connections: most, Contacts: contacts}
}

// Sizes that bars name.
const (
	oneMB       = 1 << 20
	largest     = 25 << 20
	most        = 32 // connections
	contactsOf1 = 100_000
	contactsOf2 = 1_000_000
)

// Bars is the table of what is to be reached, with what was.
func (r *results) Bars() []bar {
	var all []bar
	for _, part := range [][]bar{r.mailerBars(), r.campaignBars(), r.memoryBars()} {
		all = append(all, part...)
	}
	return all
}

// timesSource is a bar on the rate as against smtp-source's.
func (r *results) timesSource(what string, limit float64, w work, contender string) bar {
	return bar{
		Work: what, Limit: limit, Unit: "x smtp-source", Format: "%.2f",
		Reached: ratio(r.find(w, contender), r.find(w, smtpSource), rateOf), of: &contest{work: w, contender: contender},
	}
}

func (r *results) mailerBars() []bar {
	lane, session := string(kindLane), string(kindSession)
	tls := work{Part: partTLS, Connections: 8}
	heavy := mailerWork(8, oneMB, false)
	return []bar{
		r.timesSource("Mailer alone, 2 KB, 8 connections", 1.6, mailerWork(8, 0, false), lane),
		r.timesSource("Mailer alone, 2 KB, 32 connections", 1.6, mailerWork(most, 0, false), lane),
		r.timesSource("Bare sessions, 2 KB, 8 connections", 1.8, mailerWork(8, 0, false), session),
		r.timesSource("Bare sessions, 2 KB, 32 connections", 1.8, mailerWork(most, 0, false), session),
		r.timesSource("Mailer alone, 2 KB, 1 connection", 3.5, mailerWork(1, 0, false), lane),
		r.timesSource("Mailer alone, 2 KB, 8 connections, 5 ms one way", 3.5, mailerWork(8, 0, true), lane),
		{
			Work: "Mailer alone, 1 MB attachment, 8 connections: processor time", Limit: 1.3, AtMost: true,
			Unit: "x smtp-source", Format: "%.2f",
			Reached: ratio(r.find(heavy, lane), r.find(heavy, smtpSource), cpuOf), of: &contest{work: heavy, contender: lane},
		}, {
			Work: "Mailer alone over TLS, 2 KB, 8 connections", Limit: 2, Unit: "x net/smtp", Format: "%.2f",
			Reached: ratio(r.find(tls, lane), r.find(tls, string(kindSMTP)), rateOf), of: &contest{work: tls, contender: lane},
		},
	}
}

func (r *results) campaignBars() []bar {
	small, large := campaignWork(contactsOf1), campaignWork(contactsOf2)
	onDynamo, raw := r.dynamoSeries()
	return []bar{
		r.timesSource("Whole campaign of 100,000, embedded store, 32 connections, POST to completed", 1, small, wholeCampaign),
		{
			Work: "The same with 1,000,000 contacts", Limit: 0.9, Unit: "of the rate with 100,000", Format: "%.2f",
			Reached: ratio(r.find(large, wholeCampaign), r.find(small, wholeCampaign), rateOf), of: &contest{work: large, contender: wholeCampaign},
		}, {
			Work: "Whole campaign on DynamoDB Local", Limit: 0.8, Unit: "of the rate of raw checkpoints", Format: "%.2f",
			Reached: ratio(onDynamo, raw, rateOf), of: dynamoContest(onDynamo),
		}, {
			Work: "GET /campaign-status at 50 a second while sending at full speed, p99", Limit: 25, AtMost: true, Unit: "ms", Format: "%.1f",
			Reached: r.statusP99(), of: &contest{work: r.loadWork(), contender: campaignUnderAPI},
		},
	}
}

func (r *results) memoryBars() []bar {
	with, without := memoryWork(largest), memoryWork(0)
	return []bar{
		{
			Work: "Peak RssAnon of the server, 1,000,000 contacts, 2 KB, 32 connections", Limit: 150, AtMost: true, Unit: "MB", Format: "%.0f",
			Reached: r.find(campaignWork(contactsOf2), wholeCampaign).of(peakOfMB),
			of:      &contest{work: campaignWork(contactsOf2), contender: wholeCampaign, heap: true},
		}, {
			Work: "Peak RssAnon of the server with a 25 MB attachment, 32 connections, above that with none", Limit: 150, AtMost: true, Unit: "MB", Format: "%.0f",
			Reached: difference(r.find(with, wholeCampaign), r.find(without, wholeCampaign), peakOfMB),
			of:      &contest{work: with, contender: wholeCampaign, heap: true},
		},
	}
}

// dynamoSeries finds the part's two series, whatever their size.
func (r *results) dynamoSeries() (onDynamo, raw *series) {
	for _, s := range r.Series {
		if s.Work.Part != partDynamo {
			continue
		}
		if s.Contender == wholeCampaign {
			onDynamo = s
		} else {
			raw = s
		}
	}
	return onDynamo, raw
}

func dynamoContest(s *series) *contest {
	if s == nil {
		return nil
	}
	return &contest{work: s.Work, contender: s.Contender}
}

// loadWork is that of the API under load, whatever its size.
func (r *results) loadWork() work {
	for _, s := range r.Series {
		if s.Work.Part == partLoad {
			return s.Work
		}
	}
	return work{Part: partLoad}
}

// statusP99 is over the rounds; status polls are the first of the latencies.
func (r *results) statusP99() spread {
	var all []float64
	for _, round := range r.Load {
		all = append(all, float64(round[0].P99)/float64(time.Millisecond))
	}
	return spreadOf(all)
}

func printBars(w io.Writer, bars []bar) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WORK\tBAR\tREACHED\t")
	for _, b := range bars {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", b.Work, b.Rule(), b.Figure(), b.Verdict())
	}
	return t.Flush()
}
