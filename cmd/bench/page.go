package main

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"
)

// What writeFiles writes.
const (
	pageName    = "performance.md"
	pictureName = "performance.svg"
	dataName    = "performance.json"
)

//go:embed performance.md.tmpl performance.svg.tmpl
var templates embed.FS

// names are the contenders', as the reader knows them, in the order of the
// tables.
var names = []struct{ contender, name string }{
	{smtpSource, "smtp-source"},
	{string(kindSession), "Postern, bare sessions"},
	{string(kindLane), "Postern, mailer alone"},
	{wholeCampaign, "Postern, whole campaign"},
	{campaignUnderAPI, "Postern, whole campaign, API under load"},
	{string(kindDynamo), "raw checkpoints by the AWS SDK"},
	{string(kindSMTP), "net/smtp loop"},
	{string(kindSimpleMail), "go-simple-mail loop"},
}

func nameOf(contender string) string {
	for _, n := range names {
		if n.contender == contender {
			return n.name
		}
	}
	return contender
}

// writeFiles writes the page, its picture, and the figures behind them.
func (r *results) writeFiles(dir string) error {
	for name, data := range map[string]any{pageName: r, pictureName: r.picture()} {
		var out bytes.Buffer
		t, err := template.New(name+".tmpl").Funcs(functions()).ParseFS(templates, name+".tmpl")
		if err != nil {
			return err
		}
		if err := t.Execute(&out, data); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), out.Bytes(), 0o644); err != nil { //nolint:gosec // G306: a page of the documentation
			return err
		}
	}
	return r.save(filepath.Join(dir, dataName))
}

func functions() template.FuncMap {
	return template.FuncMap{
		"ms":   func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) },
		"mb":   func(octets float64) string { return fmt.Sprintf("%.0f", octets/1e6) },
		"trim": strings.TrimSpace,
	}
}

// grid is a table of contenders by numbers of connections.
type grid struct {
	Title       string
	Connections []int
	Rows        []gridRow
}

// gridRow is one contender's.
type gridRow struct {
	Name  string
	Cells []string
	CPU   string // at the most connections
	Peak  string // the same
}

// Grids are the tables of the mailer's works, and of that over TLS.
func (r *results) Grids() []grid {
	var all []grid
	for _, part := range []string{partMailer, partTLS} {
		for _, delayed := range []bool{false, true} {
			for _, attachment := range r.attachments(part, delayed) {
				all = append(all, r.grid(work{Part: part, Attachment: attachment, Delayed: delayed}))
			}
		}
	}
	return all
}

func (r *results) attachments(part string, delayed bool) (sizes []int) {
	for _, s := range r.Series {
		if s.Work.Part == part && s.Work.Delayed == delayed {
			sizes = append(sizes, s.Work.Attachment)
		}
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

// grid is of the works that are like w but for their connections.
func (r *results) grid(w work) grid {
	g := grid{Title: titleOf(w)}
	for _, s := range r.Series {
		like := s.Work
		like.Connections = 0
		if like == w {
			g.Connections = append(g.Connections, s.Work.Connections)
		}
	}
	slices.Sort(g.Connections)
	g.Connections = slices.Compact(g.Connections)
	for _, n := range names {
		row := gridRow{Name: n.name}
		for _, connections := range g.Connections {
			w.Connections = connections
			s := r.find(w, n.contender)
			if s == nil {
				continue
			}
			row.Cells = append(row.Cells, cellOf(s, r.find(w, smtpSource)))
			row.CPU, row.Peak = figure(s.of(cpuOf)), figure(s.of(peakOfMB))
		}
		if len(row.Cells) == len(g.Connections) {
			g.Rows = append(g.Rows, row)
		}
	}
	return g
}

func titleOf(w work) string {
	size := "2 KB"
	switch {
	case w.Attachment >= oneMB:
		size = fmt.Sprintf("%d MB attachment", w.Attachment>>20)
	case w.Attachment > 0:
		size = fmt.Sprintf("%d KB attachment", w.Attachment>>10)
	}
	switch {
	case w.Part == partTLS:
		return size + ", loopback, over TLS"
	case w.Delayed:
		return size + ", 5 ms one way"
	default:
		return size + ", loopback"
	}
}

// cellOf is a rate, its range over the rounds, and the ratio to smtp-source
// where that has run.
func cellOf(s, source *series) string {
	rate := s.of(rateOf)
	text := fmt.Sprintf("%s (%s to %s)", figure(rate), number3(rate.Least), number3(rate.Most))
	if source != nil && s != source {
		text += fmt.Sprintf(" **%.2f x**", ratio(s, source, rateOf).Median)
	}
	return text
}

func figure(s spread) string {
	if !s.Measured {
		return "-"
	}
	return number3(s.Median)
}

// number3 writes a number with three significant digits, thousands apart.
func number3(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.3g", v)
	case v < 1000:
		return fmt.Sprintf("%.0f", v)
	}
	digits := fmt.Sprintf("%.0f", v)
	var out []byte
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 {
			out = append(out, ',')
		}
		out = append(out, digits[i])
	}
	return string(out)
}

// campaignRow is a line of the table of whole campaigns.
type campaignRow struct {
	Name, Work, Rate, Settling, CPU, Peak string
}

// Campaigns are the series of whole campaigns and what stands beside them.
func (r *results) Campaigns() []campaignRow {
	var rows []campaignRow
	for _, s := range r.Series {
		if s.Work.Part == partMailer || s.Work.Part == partTLS {
			continue
		}
		rate, cpu, peak := s.of(rateOf), s.of(cpuOf), s.of(peakOfMB)
		rows = append(rows, campaignRow{
			Name: nameOf(s.Contender), Work: campaignTitle(s.Work),
			Rate:     fmt.Sprintf("%s (%s to %s)", figure(rate), number3(rate.Least), number3(rate.Most)),
			Settling: settling(s), CPU: figure(cpu), Peak: fmt.Sprintf("%s (%s to %s)", figure(peak), number3(peak.Least), number3(peak.Most)),
		})
	}
	return rows
}

// settling is how long the contacts' statistics took behind the end.
func settling(s *series) string {
	took := s.of(func(one sample) float64 { return one.Settling.Seconds() })
	if took.Median == 0 {
		return ""
	}
	return figure(took)
}

func campaignTitle(w work) string {
	title := number3(float64(w.Contacts)) + " contacts"
	switch {
	case w.Part == partDynamo:
		title += ", DynamoDB Local"
	case w.Attachment > 0:
		title += fmt.Sprintf(", %d MB attachment", w.Attachment>>20)
	}
	return title
}

// latencyRow is a line of the table of the API under load.
type latencyRow struct {
	Request         string
	PerSecond       int
	P50, P99, Worst string // milliseconds
}

// Latencies are the API's while sending, as medians of the rounds.
func (r *results) Latencies() []latencyRow {
	var rows []latencyRow
	if len(r.Load) == 0 {
		return nil
	}
	for i, one := range r.Load[0] {
		each := func(figure func(latencies) time.Duration) string {
			var values []float64
			for _, round := range r.Load {
				values = append(values, float64(figure(round[i]))/float64(time.Millisecond))
			}
			s := spreadOf(values)
			return fmt.Sprintf("%.1f (%.1f to %.1f)", s.Median, s.Least, s.Most)
		}
		rows = append(rows, latencyRow{
			one.Request, one.PerSecond,
			each(func(l latencies) time.Duration { return l.P50 }),
			each(func(l latencies) time.Duration { return l.P99 }),
			each(func(l latencies) time.Duration { return l.Most }),
		})
	}
	return rows
}
