package mailer

import (
	"fmt"
	"html"
	"strings"
	"unicode/utf8"

	"postern/internal/campaign"
)

// Limits of a template. They bound what one letter can cost at Compile; the
// cost of a message is bounded by maxPersonalOctets.
const (
	maxBodyTemplateOctets    = 1 << 20
	maxSubjectTemplateOctets = 2000
	maxPlaceholders          = 1000
	maxTemplateFaults        = 20 // more would not help the person who mends it
)

// foreignSigns begin the blocks, partials and comments of other template
// languages. A field whose name starts so would hardly exist, and a letter
// with "{{#if vip}}" in it must not go out as if it meant something. (In HTML the
// same holds for "{{<b>name</b>}}", which editors write.)
const foreignSigns = "#/^!&>."

// span is a piece of a template: literal text, or a placeholder, which names a
// field and has a text for contacts without it.
type span struct {
	literal  string
	field    string // "" for literal text
	fallback string
	place    place // where in HTML it stands
}

// template is a parsed template. Its literal text has LF line breaks.
type template []span

// syntax says how a template's source is read.
type syntax struct {
	maxOctets int
	// markup: the source is HTML, so that an editor may have written the
	// quotes within a placeholder as entities.
	markup bool
}

var (
	subjectSyntax = syntax{maxOctets: maxSubjectTemplateOctets}
	htmlSyntax    = syntax{maxOctets: maxBodyTemplateOctets, markup: true}
)

// parse reads a template: text with {{field}} and {{field | default: "text"}}
// in it. A lone "}}" is literal, since nested CSS ends so. Each rule in rules
// is one that the source broke, with its line and column, both from 1 and the
// column in characters.
func (s syntax) parse(source string) (t template, rules []string) {
	if rule := s.check(source); rule != "" {
		return nil, []string{rule}
	}
	p := parser{syntax: s, source: normalizeBreaks(source)}
	p.run()
	if p.placeholders > maxPlaceholders {
		p.rules = append(p.rules, fmt.Sprintf("must have at most %d placeholders", maxPlaceholders))
	}
	return p.spans, p.rules
}

func (s syntax) check(source string) (rule string) {
	switch {
	case strings.TrimSpace(source) == "":
		return "must not be empty"
	case len(source) > s.maxOctets:
		return fmt.Sprintf("must be at most %d octets", s.maxOctets)
	case !utf8.ValidString(source):
		return "must be valid UTF-8"
	}
	return ""
}

type parser struct {
	syntax
	source       string
	pos          int
	spans        template
	placeholders int
	rules        []string
}

func (p *parser) run() {
	for p.pos < len(p.source) && len(p.rules) < maxTemplateFaults {
		start := nextTag(p.source, p.pos)
		p.literal(p.source[p.pos:start])
		p.pos = start
		if start < len(p.source) {
			p.tag()
		}
	}
}

// nextTag finds the next "{{" or "{%", or the end.
func nextTag(source string, from int) int {
	for i := from; ; i++ {
		n := strings.IndexByte(source[i:], '{')
		if n < 0 || i+n+1 >= len(source) {
			return len(source)
		}
		i += n
		if source[i+1] == '{' || source[i+1] == '%' {
			return i
		}
	}
}

func (p *parser) literal(text string) {
	if text != "" {
		p.spans = append(p.spans, span{literal: text})
	}
}

// tag reads what stands at pos and goes behind it.
func (p *parser) tag() {
	start := p.pos
	rest := p.source[start:]
	if strings.HasPrefix(rest, "{%") {
		p.pos += 2
		p.fault(start, "has a {%% tag, which is not understood; only {{field}} is")
		return
	}
	if strings.HasPrefix(rest, "{{{") {
		p.pos += len(rest) - len(strings.TrimLeft(rest, "{"))
		p.fault(start, "has three or more { in a row")
		return
	}
	end := strings.Index(rest, "}}")
	if end < 0 {
		p.pos = len(p.source)
		p.fault(start, "has a {{ without its }}")
		return
	}
	p.pos += end + len("}}")
	if s, rule := p.placeholder(rest[2:end]); rule != "" {
		p.fault(start, "%s", rule)
	} else {
		p.spans = append(p.spans, s)
		p.placeholders++
	}
}

// placeholder reads what stands between the braces.
func (p *parser) placeholder(inner string) (s span, rule string) {
	if strings.ContainsAny(inner, "{}") {
		return span{}, "has braces within a placeholder"
	}
	if p.markup {
		inner = html.UnescapeString(inner)
	}
	name, filter, filtered := strings.Cut(inner, "|")
	name = strings.TrimSpace(name)
	if err := campaign.CheckFieldName(name); err != nil {
		return span{}, fmt.Sprintf("has the placeholder %q, which %s", shorten(name), err)
	}
	if strings.ContainsRune(foreignSigns, rune(name[0])) || p.markup && strings.ContainsAny(name, "<>") {
		return span{}, fmt.Sprintf("has the placeholder %q; only field names are understood", shorten(name))
	}
	if !filtered {
		return span{field: name}, ""
	}
	fallback, rule := readDefault(filter)
	return span{field: name, fallback: fallback}, rule
}

// readDefault reads `default: "text"`; single quotes do as well.
func readDefault(filter string) (text, rule string) {
	name, argument, _ := strings.Cut(filter, ":")
	if name = strings.TrimSpace(name); name != "default" {
		return "", fmt.Sprintf("has the unknown filter %q; only default is known", shorten(name))
	}
	argument = strings.TrimSpace(argument)
	if n := len(argument); n >= 2 {
		quote := argument[:1]
		text = argument[1 : n-1]
		if (quote == `"` || quote == "'") && argument[n-1:] == quote && !strings.Contains(text, quote) {
			return text, ""
		}
	}
	return "", `has a default that is not followed by one text in quotes, as in default: "there"`
}

func (p *parser) fault(at int, format string, args ...any) {
	p.rules = append(p.rules, fmt.Sprintf(format, args...)+position(p.source, at))
}

// position says where in the source an octet is.
func position(source string, at int) string {
	before := source[:at]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Sprintf(" (line %d, column %d)", line, column)
}

// normalizeBreaks turns CRLF and lone CR into LF.
func normalizeBreaks(s string) string {
	if !strings.Contains(s, "\r") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// shorten keeps an error message readable when hostile text is in it.
func shorten(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// personal says whether the template has placeholders.
func (t template) personal() bool {
	for _, s := range t {
		if s.field != "" {
			return true
		}
	}
	return false
}
