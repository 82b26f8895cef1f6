package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		values []float64
		want   spread
	}{
		{nil, spread{}},
		{[]float64{3}, spread{3, 3, 3, true}},
		{[]float64{9, 1, 2}, spread{2, 1, 9, true}},
		{[]float64{4, 1, 2, 9}, spread{3, 1, 9, true}},
	} {
		if got := spreadOf(tt.values); got != tt.want {
			t.Errorf("spreadOf(%v) = %+v, want %+v", tt.values, got, tt.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0.01234: "0.0123", 9.876: "9.88", 23.51: "24", 999.4: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := number3(v); got != want {
			t.Errorf("%v is written %q, want %q", v, got, want)
		}
	}
}

func TestLatenciesAt(t *testing.T) {
	t.Parallel()
	var took []time.Duration
	for i := range 200 {
		took = append(took, time.Duration(i+1)*time.Millisecond)
	}
	if p50, p99, most := at(0.5, took), at(0.99, took), at(1, took); p50 != 101*time.Millisecond || p99 != 199*time.Millisecond || most != 200*time.Millisecond {
		t.Errorf("p50 %s, p99 %s, most %s", p50, p99, most)
	}
	if none := at(0.99, nil); none != 0 {
		t.Errorf("of no requests: %s", none)
	}
}

// made is a run in which Postern sends thrice as fast as smtp-source at eight
// connections, and half as fast at 32.
func made() *results {
	r := &results{Parts: []partRun{{Part: partMailer, machine: machine{Rounds: 2, LoadBefore: "0.10"}}}}
	for round := range 2 {
		base := 1000 * (round + 1) // the machine is twice as fast in the second round
		add := func(w work, contender string, messages int) {
			r.add(w, contender, sample{Messages: messages, Elapsed: time.Second, CPU: time.Second, PeakAnon: 100e6})
		}
		add(mailerWork(8, 0, false), smtpSource, base)
		add(mailerWork(8, 0, false), string(kindLane), 3*base)
		add(mailerWork(most, 0, false), smtpSource, base)
		add(mailerWork(most, 0, false), string(kindLane), base/2)
		add(campaignWork(contactsOf1), wholeCampaign, base)
		add(campaignWork(contactsOf2), wholeCampaign, base)
		r.Load = append(r.Load, []latencies{{Request: "GET /x & y", PerSecond: 50, P50: time.Millisecond, P99: 30 * time.Millisecond, Most: 30 * time.Millisecond}})
	}
	return r
}

func TestBars(t *testing.T) {
	t.Parallel()
	got := map[string]bar{}
	for _, b := range made().Bars() {
		got[b.Work] = b
	}
	for name, want := range map[string]string{
		"Mailer alone, 2 KB, 8 connections":                                            "met",
		"Mailer alone, 2 KB, 32 connections":                                           "not met",
		"Bare sessions, 2 KB, 8 connections":                                           "not measured",
		"The same with 1,000,000 contacts":                                             "met",
		"Peak RssAnon of the server, 1,000,000 contacts, 2 KB, 32 connections":         "met",
		"GET /campaign-status at 50 a second while sending at full speed, p99":         "not met",
		"Whole campaign of 100,000, embedded store, 32 connections, POST to completed": "not measured",
	} {
		if b, there := got[name]; !there || b.Verdict() != want {
			t.Errorf("%s: %q (%s), want %q", name, b.Verdict(), b.Figure(), want)
		}
	}
	if b := got["Mailer alone, 2 KB, 8 connections"]; b.Figure() != "3.00 (3.00 to 3.00)" || b.Rule() != "at least 1.60 x smtp-source" {
		t.Errorf("%s, %s: ratios are to be made round by round", b.Figure(), b.Rule())
	}
}

func TestPageAndPicture(t *testing.T) {
	t.Parallel()
	r := made()
	r.Profiles = []profile{{Of: "the bar", Text: "flat  flat%"}}
	dir := t.TempDir()
	if err := r.writeFiles(dir); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, pageName))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| Mailer alone, 2 KB, 32 connections | at least 1.60 x smtp-source | 0.50 (0.50 to 0.50) | **not met** |",
		"| | 8 connections | 32 connections | CPU s per 1,000 | peak MB |",
		"| Postern, mailer alone | 4,500 (3,000 to 6,000) **3.00 x** | 750 (500 to 1,000) **0.50 x** |",
		"| `GET /x & y` | 50 | 1.0 (1.0 to 1.0) | 30.0 (30.0 to 30.0) |",
		"flat  flat%",
		"| mailer | ",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(string(page), "\n\n\n") {
		t.Error("the page has empty lines in a row")
	}
	picture, err := os.Open(filepath.Join(dir, pictureName))
	if err != nil {
		t.Fatal(err)
	}
	defer picture.Close()
	bars := 0
	for d := xml.NewDecoder(picture); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, is := token.(xml.StartElement); is && e.Name.Local == "rect" {
			bars++
		}
	}
	if bars != 1+6 {
		t.Errorf("%d rectangles, want the ground and six bars", bars)
	}
}

// TestForget: a part that is measured anew leaves nothing of its former self.
func TestForget(t *testing.T) {
	t.Parallel()
	r := made()
	r.Profiles = []profile{{Part: partMailer}, {Part: partLoad}}
	r.forget(partMailer)
	r.forget(partLoad)
	if len(r.Series) != 2 || len(r.Parts)+len(r.Profiles)+len(r.Load) != 0 {
		t.Errorf("what stays is %+v", r)
	}
}

func TestUnknownPart(t *testing.T) {
	t.Parallel()
	var faults strings.Builder
	if code := run([]string{"-parts", "mailer,tsl", "-dir", t.TempDir()}, io.Discard, &faults); code != 1 || !strings.Contains(faults.String(), `no part "tsl"`) {
		t.Errorf("exit %d: %s", code, faults.String())
	}
}
