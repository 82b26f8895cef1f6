package mailer

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/html"
)

// place is where in the HTML a field stands, and so how its value is escaped.
// The zero place is text, and the value of an attribute in quotes.
type place struct {
	url      urlPart
	unquoted bool // in the value of an attribute without quotes
	first    bool // and it begins that value, which must not be empty then
}

// unended is why a placeholder is refused that is in no token of HTML.
const unended = "in a tag that never ends: end it with a >, or write &lt; for a < that is text"

// place finds the place of every placeholder in HTML, as a browser reads it.
// Each rule says of one that it stands where no escaping makes a stranger's
// value safe; its place remains the zero one.
//
// Each placeholder is a word of letters and digits while the HTML is read, as
// in plainText. No escaped value has a <, >, quote or & of its own, so that with
// the word at a place that is allowed, any value gives the same tags.
func (t template) place(source string) (rules []string) {
	f := finder{prefix: newMarks(t).prefix}
	var marked strings.Builder
	for _, s := range t {
		if s.field == "" {
			marked.WriteString(s.literal)
			continue
		}
		marked.WriteString(f.prefix + strconv.Itoa(len(f.places)) + "x")
		f.places = append(f.places, place{})
		f.refusals = append(f.refusals, unended)
	}
	if len(f.places) > 0 {
		f.read(marked.String(), false)
	}
	n := 0
	for i := range t {
		if t[i].field != "" {
			t[i].place = f.places[n]
			n++
		}
	}
	return f.rules(t, normalizeBreaks(source))
}

// finder finds the places of placeholders, which it knows by number.
type finder struct {
	prefix   string
	places   []place
	refusals []string // "" where the place is allowed
}

// rules makes rules of the refusals, as many as help who mends the template.
func (f *finder) rules(t template, source string) (rules []string) {
	n, at := 0, 0
	for _, s := range t {
		if s.field == "" || len(rules) == maxTemplateFaults {
			continue
		}
		at = nextTag(source, at)
		if why := f.refusals[n]; why != "" {
			rules = append(rules, fmt.Sprintf("has the placeholder %q %s%s", shorten(s.field), why, position(source, at)))
		}
		at += strings.Index(source[at:], "}}")
		n++
	}
	return rules
}

// rawElements are those whose content is no HTML to the tokenizer, and
// therefore to browsers with scripting.
var rawElements = map[string]bool{
	"iframe": true, "noembed": true, "noframes": true, "noscript": true, "plaintext": true,
	"script": true, "style": true, "textarea": true, "title": true, "xmp": true,
}

// read goes through HTML, or through that in a conditional comment.
func (f *finder) read(source string, conditional bool) {
	tokens := html.NewTokenizer(strings.NewReader(source))
	within := "" // the raw element that the token before began
	for {
		kind := tokens.Next()
		if kind == html.ErrorToken { // the end: a string's reader has no other error
			return
		}
		raw := tokens.Raw()
		if bytes.Contains(raw, []byte(f.prefix)) {
			f.token(token{kind: kind, raw: string(raw), within: within, conditional: conditional})
		}
		within = ""
		if name, _ := tokens.TagName(); kind != html.EndTagToken && rawElements[string(name)] {
			within = string(name)
		}
	}
}

// token is one that has placeholders.
type token struct {
	kind        html.TokenType
	raw         string
	within      string // the raw element that it is the content of
	conditional bool   // it is within a conditional comment
}

func (f *finder) token(t token) {
	switch t.kind {
	case html.TextToken:
		f.text(t)
	case html.StartTagToken, html.SelfClosingTagToken:
		f.tag(t.raw)
	case html.CommentToken:
		f.refuse(t.raw, "in a comment, where no escaping is safe: take it or the comment out")
		if inner, ok := conditionalHTML(t.raw); ok && !t.conditional {
			f.read(inner, true)
		}
	default: // an end tag, a doctype
		f.refuse(t.raw, "in a tag that shows nothing: take it out")
	}
}

// text allows placeholders in text. Within title and textarea there must be no
// tag before them: in SVG a title has markup, and one that is left open
// swallows the letter.
func (f *finder) text(t token) {
	if t.within != "" && (t.within != "title" && t.within != "textarea" || strings.Contains(t.raw, "<")) {
		f.refuse(t.raw, fmt.Sprintf("within <%s>, where no escaping is safe: take it out, or put it into the text", t.within))
		return
	}
	_, numbers := f.cut(t.raw)
	for _, n := range numbers {
		f.allow(n, place{})
	}
}

// conditionalHTML gives what <!--[if mso]>...<![endif]--> has within: HTML to
// Outlook, which letters are written for, and a comment to all others.
func conditionalHTML(comment string) (inner string, ok bool) {
	condition, inner, ok := strings.Cut(strings.TrimPrefix(comment, "<!--"), "]>")
	if !ok || !strings.HasPrefix(strings.ToLower(condition), "[if") || strings.ContainsAny(condition, "<>") {
		return "", false
	}
	end := strings.LastIndex(inner, "<![")
	if end < 0 {
		return "", false
	}
	return inner[:end], true
}

func (f *finder) allow(number int, p place) {
	f.places[number], f.refusals[number] = p, ""
}

// refuse refuses all placeholders in raw.
func (f *finder) refuse(raw, why string) {
	_, numbers := f.cut(raw)
	for _, n := range numbers {
		f.places[n], f.refusals[n] = place{}, why
	}
}

// cut gives the literal text between placeholders, one piece more than there
// are placeholders, and their numbers.
func (f *finder) cut(s string) (literals []string, numbers []int) {
	for {
		before, after, found := strings.Cut(s, f.prefix)
		literals = append(literals, before)
		if !found {
			return literals, numbers
		}
		number, rest, _ := strings.Cut(after, "x")
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 || n >= len(f.places) { // the prefix is a digest, and in no literal
			return literals, numbers
		}
		numbers = append(numbers, n)
		s = rest
	}
}
