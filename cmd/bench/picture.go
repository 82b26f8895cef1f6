package main

import "fmt"

// Measures of the picture, in its own units.
const (
	pictureWidth = 860
	labelWidth   = 210
	valueWidth   = 90
	rowHeight    = 22
	panelTop     = 58 // title and room above the first bar
	groupGap     = 30 // room for a group's heading
)

// picture is the page's chart: panels of horizontal bars, one below the other.
type picture struct {
	Width, Height int
	Panels        []panel
}

// panel is one figure for several works.
type panel struct {
	Title, Note string
	Y           int
	Groups      []barGroup
}

// barGroup is the contenders at one work.
type barGroup struct {
	Title string
	Y     int
	Bars  []drawn
}

// drawn is one bar.
type drawn struct {
	Label, Value, Color  string
	Y, TextY, X, W, EndX int
}

var colors = map[string]string{
	smtpSource: "#8a8f98", string(kindSession): "#5b9bd5", string(kindLane): "#1f5fa8", wholeCampaign: "#123a6b",
	string(kindSMTP): "#d9a441", string(kindSimpleMail): "#c8663a", string(kindDynamo): "#8a8f98",
}

// chart says what a panel shows.
type chart struct {
	title, note string
	figure      func(sample) float64
	works       []work
	heading     func(work) string
}

func (r *results) picture() picture {
	connections := func(w work) string {
		if w.Connections == 1 {
			return "1 connection"
		}
		return fmt.Sprintf("%d connections", w.Connections)
	}
	p := picture{Width: pictureWidth, Height: 20}
	for _, c := range []chart{
		{
			"Messages of 2 KB a second, loopback", "longer is better", rateOf,
			[]work{mailerWork(1, 0, false), mailerWork(8, 0, false), mailerWork(most, 0, false)}, connections,
		}, {
			"Messages of 2 KB a second, 5 ms one way", "longer is better", rateOf,
			[]work{mailerWork(1, 0, true), mailerWork(8, 0, true), mailerWork(most, 0, true)}, connections,
		}, {
			"Processor seconds for 1,000 messages with a 1 MB attachment", "shorter is better", cpuOf,
			[]work{mailerWork(8, oneMB, false)}, connections,
		}, {
			"Whole campaigns, messages a second, POST to completed, every result durable", "longer is better", rateOf,
			[]work{campaignWork(contactsOf1), campaignWork(contactsOf2)}, campaignTitle,
		},
	} {
		p.add(r, c)
	}
	return p
}

// add puts a panel below the others. Works that were not measured are left
// out, and so is a panel of none.
func (p *picture) add(r *results, c chart) {
	scale := r.greatest(c)
	if scale == 0 {
		return
	}
	at := panel{Title: c.title, Note: c.note, Y: p.Height + 24}
	y := p.Height + panelTop
	for _, w := range c.works {
		group := barGroup{Title: c.heading(w), Y: y}
		for _, n := range names {
			s := r.find(w, n.contender)
			if s == nil {
				continue
			}
			value := s.of(c.figure).Median
			width := max(int(value/scale*(pictureWidth-labelWidth-valueWidth-40)), 1)
			group.Bars = append(group.Bars, drawn{
				Label: n.name, Value: number3(value), Color: colors[n.contender],
				Y: y + 8, TextY: y + 21, X: labelWidth, W: width, EndX: labelWidth + width + 6,
			})
			y += rowHeight
		}
		if len(group.Bars) > 0 {
			at.Groups = append(at.Groups, group)
			y += groupGap
		}
	}
	p.Panels = append(p.Panels, at)
	p.Height = y
}

// greatest is what the panel's longest bar stands for, 0 where there is none.
func (r *results) greatest(c chart) (greatest float64) {
	for _, w := range c.works {
		for _, n := range names {
			greatest = max(greatest, r.find(w, n.contender).of(c.figure).Median)
		}
	}
	return greatest
}
