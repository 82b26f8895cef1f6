package mailer

import (
	"fmt"
	"strings"
)

// tagAttribute is an attribute as it stands in a tag.
type tagAttribute struct {
	name   string // in lower case
	value  string // not decoded
	quoted bool
}

// htmlSpace is white space within a tag.
const htmlSpace = " \n\r\t\f"

// readTag takes a start tag apart, as the HTML standard has it in 13.2.5.32
// to 13.2.5.40. The tokenizer has found the tag; it does not tell whether a
// value is in quotes, and leaves out attributes that come twice.
func readTag(raw string) (element string, attributes []tagAttribute) {
	rest := strings.TrimPrefix(raw, "<")
	end := indexAny(rest, htmlSpace+"/>", 0)
	element, rest = strings.ToLower(rest[:end]), rest[end:]
	for {
		rest = strings.TrimLeft(rest, htmlSpace)
		if rest == "" || rest[0] == '>' {
			return element, attributes
		}
		var a tagAttribute
		a, rest = readAttribute(rest)
		attributes = append(attributes, a)
	}
}

// readAttribute reads an attribute's name and its value if there is one. A
// lone / is one without either.
func readAttribute(s string) (a tagAttribute, rest string) {
	from := 0
	if s[0] == '=' { // part of the name at its beginning
		from = 1
	}
	end := indexAny(s, htmlSpace+"/>=", from)
	a.name = strings.ToLower(s[:end])
	rest = strings.TrimLeft(s[end:], htmlSpace)
	switch {
	case strings.HasPrefix(rest, "/"):
		return a, rest[1:]
	case !strings.HasPrefix(rest, "="):
		return a, rest
	}
	rest = strings.TrimLeft(rest[1:], htmlSpace)
	if rest != "" && (rest[0] == '"' || rest[0] == '\'') {
		a.quoted = true
		a.value, rest, _ = strings.Cut(rest[1:], rest[:1])
		return a, rest
	}
	end = indexAny(rest, htmlSpace+">", 0)
	a.value = rest[:end]
	return a, rest[end:]
}

// indexAny is the index of the first of chars at from or behind it, or else
// of the end.
func indexAny(s, chars string, from int) int {
	if i := strings.IndexAny(s[from:], chars); i >= 0 {
		return from + i
	}
	return len(s)
}

// tag finds the places of the placeholders in a start tag.
func (f *finder) tag(raw string) {
	f.refuse(raw, "in the name of a tag or attribute, where no escaping is safe: put it into the text "+
		"or an attribute's value in quotes, and write &lt; for a < that is text")
	element, attributes := readTag(raw)
	for _, a := range attributes {
		if !strings.Contains(a.value, f.prefix) {
			continue
		}
		if why := codeIn(element, a.name, attributes); why != "" {
			f.refuse(a.value, why)
			continue
		}
		f.value(a)
	}
}

// value finds the places in an attribute's value.
func (f *finder) value(a tagAttribute) {
	literals, numbers := f.cut(a.value)
	var u urlReader
	for i, n := range numbers {
		p := place{unquoted: !a.quoted, first: !a.quoted && i == 0 && literals[0] == ""}
		if isURL(a.name) {
			if why := u.beforeField(literals[i]); why != "" {
				f.refuse(a.value, why)
				return
			}
			p.url = u.field()
		}
		f.allow(n, p)
	}
	if !isURL(a.name) {
		return
	}
	if why := u.literal(literals[len(numbers)]); why != "" {
		f.refuse(a.value, why)
	}
}

// codeElements are those of which any attribute says what code or style the
// letter has, where its addresses lead, or changes other attributes.
var codeElements = map[string]bool{
	"script": true, "link": true, "base": true, "param": true,
	"set": true, "animate": true, "animatemotion": true, "animatetransform": true, "animatecolor": true,
}

// codeAttributes hold a language of their own.
var codeAttributes = map[string]string{
	"style":       "CSS: choose between classes, or put the field into the text",
	"srcdoc":      "a document: put the field into the text",
	"http-equiv":  "a command: take it out",
	"srcset":      "a list of addresses: use src",
	"imagesrcset": "a list of addresses: use src",
	"ping":        "a list of addresses: use href",
	"archive":     "a list of addresses: take it out",
}

// codeIn says why no escaping is safe in an attribute, "" where one is.
func codeIn(element, name string, all []tagAttribute) string {
	local := localName(name)
	switch {
	case codeElements[localName(element)]:
		return fmt.Sprintf("in an attribute of <%s>, where no escaping is safe: take it out", shorten(element))
	case strings.HasPrefix(local, "on"):
		return fmt.Sprintf("in the attribute %s, which is code: take it out", shorten(name))
	case codeAttributes[local] != "":
		return fmt.Sprintf("in the attribute %s, which is %s", shorten(name), codeAttributes[local])
	case element == "meta" && local == "content" && hasAttribute(all, "http-equiv"):
		return "in a meta element with http-equiv, which is a command: take it out"
	}
	return ""
}

func hasAttribute(all []tagAttribute, name string) bool {
	for _, a := range all {
		if a.name == name {
			return true
		}
	}
	return false
}

// localName is a name without its namespace: xlink:href is href.
func localName(name string) string { return name[strings.LastIndexByte(name, ':')+1:] }
