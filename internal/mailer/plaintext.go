package mailer

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"golang.org/x/net/html"
)

// plainText makes a letter's plain-text alternative from its HTML: a template
// with the same placeholders.
//
// While the HTML is read, each placeholder is a word of letters and digits,
// which survives wherever it stands: in text, in an attribute, in a URL. Where
// HTML has no text for it, as within a style sheet, it goes with the rest.
func (t template) plainText() template {
	var source strings.Builder
	marks := newMarks(t)
	for _, s := range t {
		if s.field == "" {
			source.WriteString(s.literal)
		} else {
			source.WriteString(marks.of(s))
		}
	}
	return marks.split(textOf(source.String()))
}

// marks are the words that stand for placeholders: a prefix, a number and an
// "x". The prefix is a digest of the template and so cannot be in it.
type marks struct {
	prefix string
	spans  []span
	words  map[span]string
}

func newMarks(t template) *marks {
	digest := sha256.New()
	for _, s := range t {
		digest.Write([]byte(s.literal + "\x00" + s.field + "\x00"))
	}
	return &marks{
		prefix: "p" + hex.EncodeToString(digest.Sum(nil)[:12]) + "n",
		words:  make(map[span]string),
	}
}

// of gives the word for a placeholder: the same one for the same placeholder,
// so that a link whose text is its own address is recognised.
func (m *marks) of(s span) string {
	s.place = place{}
	word, known := m.words[s]
	if !known {
		word = m.prefix + strconv.Itoa(len(m.spans)) + "x"
		m.words[s] = word
		m.spans = append(m.spans, s)
	}
	return word
}

// split turns text with words for placeholders back into a template.
func (m *marks) split(text string) template {
	var t template
	literal := func(s string) {
		if s != "" {
			t = append(t, span{literal: s})
		}
	}
	for {
		before, after, found := strings.Cut(text, m.prefix)
		literal(before)
		if !found {
			return t
		}
		number, rest, _ := strings.Cut(after, "x")
		if i, err := strconv.Atoi(number); err == nil && i >= 0 && i < len(m.spans) {
			t = append(t, m.spans[i])
			after = rest
		}
		text = after
	}
}

// textOf reads HTML as a person would: what is shown, in lines.
func textOf(source string) string {
	w := &textWriter{}
	tokens := html.NewTokenizer(strings.NewReader(source))
	hidden := "" // the element whose content is left out
	for {
		kind := tokens.Next()
		if kind == html.ErrorToken { // the end: a string's reader has no other error
			return w.string()
		}
		token := tokens.Token()
		switch {
		case hidden != "":
			if endsHidden(hidden, token) {
				hidden = ""
			}
		case kind == html.TextToken:
			w.text(token.Data)
		case kind == html.StartTagToken && hiddenElements[token.Data]:
			hidden = token.Data
		case kind == html.StartTagToken || kind == html.SelfClosingTagToken:
			w.open(token)
		case kind == html.EndTagToken:
			w.close(token.Data)
		}
	}
}

// hiddenElements are those whose content is not for reading. All but head
// hold raw text, which the tokenizer gives as one token.
var hiddenElements = map[string]bool{
	"head": true, "script": true, "style": true, "title": true,
	"noscript": true, "iframe": true, "noembed": true, "noframes": true,
}

// endsHidden says whether the token ends the element; a body begins even
// where the head was left open.
func endsHidden(hidden string, token html.Token) bool {
	if hidden == "head" && token.Type == html.StartTagToken && token.Data == "body" {
		return true
	}
	return token.Type == html.EndTagToken && token.Data == hidden
}

func attribute(token html.Token, name string) string {
	for _, a := range token.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// linkTarget gives what a reader can use of a link's address; "" for nothing,
// as with places within the page and inline data.
func linkTarget(href string) string {
	href = strings.Join(strings.Fields(href), "%20")
	lower := strings.ToLower(href)
	for _, prefix := range []string{"#", "javascript:", "data:", "cid:"} {
		if strings.HasPrefix(lower, prefix) {
			return ""
		}
	}
	for _, prefix := range []string{"mailto:", "tel:"} {
		if strings.HasPrefix(lower, prefix) {
			return href[len(prefix):]
		}
	}
	return href
}

// sameTarget says whether a link's text is its address already.
func sameTarget(text, target string) bool {
	bare := func(s string) string {
		s = strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://")
		return strings.TrimSuffix(s, "/")
	}
	return strings.EqualFold(bare(text), bare(target))
}
