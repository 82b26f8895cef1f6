package mailer

import (
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/html"
)

// Line breaks that stand around an element.
const (
	breakLine      = 1
	breakParagraph = 2
)

// maxTextDepth bounds how far nested lists indent and nested quotations are
// marked, so that hostile nesting cannot make long text of short HTML.
const maxTextDepth = 8

// textWriter writes what is shown as lines of text. White space, line breaks
// and cell borders are owed until more text comes, so that none of them
// pile up or stand at an end.
type textWriter struct {
	out    strings.Builder
	breaks int  // line breaks owed
	space  bool // a space is owed
	cell   bool // a border between cells is owed

	quotes int
	pre    int
	lists  []textList
	bullet string // owed at the start of a list item

	link *textLink
}

// textList is an open list: its last number, or unordered.
type textList struct {
	ordered bool
	number  int
}

// textLink is an open link: its address and where its text begins.
type textLink struct {
	target string
	start  int
}

func (w *textWriter) string() string { return w.out.String() }

// text writes the text of an element, white space folded outside of pre.
func (w *textWriter) text(s string) {
	if w.pre > 0 {
		w.preformatted(s)
		return
	}
	words := strings.Fields(s) // no-break spaces are folded too
	if s != "" && (len(words) == 0 || startsWithSpace(s)) {
		w.space = true
	}
	for i, word := range words {
		w.word(word)
		w.space = i+1 < len(words)
	}
	if len(words) > 0 {
		w.space = endsWithSpace(s)
	}
}

func (w *textWriter) preformatted(s string) {
	for i, l := range strings.Split(normalizeBreaks(s), "\n") {
		if i > 0 {
			w.breaks = min(w.breaks+1, breakParagraph)
		}
		if l = strings.TrimRightFunc(l, unicode.IsSpace); l != "" {
			w.word(l)
		}
	}
}

// word writes what is owed, then a word.
func (w *textWriter) word(word string) {
	switch {
	case w.out.Len() == 0 || w.breaks > 0:
		if w.out.Len() > 0 {
			w.out.WriteString("\n\n"[:w.breaks])
		}
		w.startLine()
	case w.cell:
		w.out.WriteString(" | ")
	case w.space:
		w.out.WriteByte(' ')
	}
	w.breaks, w.space, w.cell = 0, false, false
	w.out.WriteString(word)
}

func (w *textWriter) startLine() {
	w.out.WriteString(strings.Repeat("> ", min(w.quotes, maxTextDepth)))
	depth := min(len(w.lists), maxTextDepth)
	if w.bullet != "" {
		w.out.WriteString(strings.Repeat("  ", max(depth-1, 0)) + w.bullet)
		w.bullet = ""
		return
	}
	w.out.WriteString(strings.Repeat("  ", depth))
}

func (w *textWriter) owe(breaks int) { w.breaks = max(w.breaks, breaks) }

// breaksAround has the line breaks around the elements that have any.
var breaksAround = map[string]int{
	"p": breakParagraph, "h1": breakParagraph, "h2": breakParagraph, "h3": breakParagraph, "h4": breakParagraph,
	"h5": breakParagraph, "h6": breakParagraph, "blockquote": breakParagraph, "pre": breakParagraph,
	"table": breakParagraph, "hr": breakParagraph, "figure": breakParagraph, "dl": breakParagraph, "fieldset": breakParagraph,
	"address": breakLine, "article": breakLine, "aside": breakLine, "body": breakLine, "caption": breakLine,
	"center": breakLine,
	"dd":     breakLine, "div": breakLine, "dt": breakLine, "figcaption": breakLine, "footer": breakLine, "form": breakLine,
	"header": breakLine, "legend": breakLine, "li": breakLine, "main": breakLine, "nav": breakLine, "option": breakLine,
	"section": breakLine, "tr": breakLine,
}

// open writes what a start tag shows.
func (w *textWriter) open(token html.Token) {
	w.owe(breaksAround[token.Data])
	switch token.Data {
	case "br":
		w.breaks = min(w.breaks+1, breakParagraph)
	case "hr":
		w.word("---")
		w.owe(breakParagraph)
	case "td", "th":
		w.cell = true // void at the start of a line
	case "img":
		w.text(attribute(token, "alt"))
	case "a":
		w.closeLink()
		w.link = &textLink{target: linkTarget(attribute(token, "href")), start: w.out.Len()}
	case "blockquote":
		w.quotes++
	case "pre":
		w.pre++
	case "ul", "ol":
		w.openList(token.Data == "ol")
	case "li":
		w.openItem()
	}
}

// close writes what an end tag shows.
func (w *textWriter) close(element string) {
	w.owe(breaksAround[element])
	switch element {
	case "br":
		w.breaks = min(w.breaks+1, breakParagraph) // browsers take </br> for <br>
	case "a":
		w.closeLink()
	case "blockquote":
		w.quotes = max(w.quotes-1, 0)
	case "pre":
		w.pre = max(w.pre-1, 0)
	case "ul", "ol":
		w.closeList()
	case "li":
		w.bullet = "" // an item without text
	}
}

func (w *textWriter) openList(ordered bool) {
	w.oweAroundList()
	w.lists = append(w.lists, textList{ordered: ordered})
}

func (w *textWriter) closeList() {
	w.lists = w.lists[:max(len(w.lists)-1, 0)]
	w.oweAroundList()
}

// oweAroundList sets an outermost list apart from the text around it.
func (w *textWriter) oweAroundList() {
	if len(w.lists) == 0 {
		w.owe(breakParagraph)
	} else {
		w.owe(breakLine)
	}
}

func (w *textWriter) openItem() {
	w.bullet = "- "
	if n := len(w.lists); n > 0 && w.lists[n-1].ordered {
		w.lists[n-1].number++
		w.bullet = strconv.Itoa(w.lists[n-1].number) + ". "
	}
}

// closeLink puts the address behind the link's text, or in its place where
// there is none, as with a picture.
func (w *textWriter) closeLink() {
	link := w.link
	w.link = nil
	if link == nil || link.target == "" {
		return
	}
	text := strings.TrimSpace(w.out.String()[link.start:])
	switch {
	case text == "":
		w.word(link.target)
	case !sameTarget(text, link.target):
		w.out.WriteString(" (" + link.target + ")")
	}
}

func startsWithSpace(s string) bool {
	return strings.TrimLeftFunc(s, unicode.IsSpace) != s
}

func endsWithSpace(s string) bool {
	return strings.TrimRightFunc(s, unicode.IsSpace) != s
}
