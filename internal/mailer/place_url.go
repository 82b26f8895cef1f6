package mailer

import (
	"strings"

	"golang.org/x/net/html"
)

// urlPart is the part of a URL that a field stands in.
type urlPart uint8

const (
	urlNone   urlPart = iota // in no URL
	urlBegin                 // the URL begins with the field, which may bring the scheme
	urlScheme                // before it stands what could still become a scheme
	urlPath                  // behind the scheme
	urlQuery                 // in query or fragment
)

// urlAttributes hold one URL each, in HTML of any age, SVG, and VML.
var urlAttributes = map[string]bool{
	"action": true, "attributionsrc": true, "background": true, "base": true, "cite": true, "classid": true, "codebase": true,
	"data": true, "dynsrc": true, "formaction": true, "href": true, "icon": true, "longdesc": true, "lowsrc": true,
	"manifest": true, "poster": true, "profile": true, "src": true, "usemap": true, "xmlns": true,
}

func isURL(attribute string) bool { return urlAttributes[localName(attribute)] }

// Reasons to refuse a placeholder in a URL.
const (
	inCodeURL = "in a URL whose scheme makes what follows code or a document: take it out"
	inScheme  = "in a URL of which it would make the scheme: have the template begin with the scheme, as in https://, " +
		"or the field hold the whole URL"
	inReference = "behind an & in what could be a URL's scheme: write %26 or &amp;"
)

// urlReader follows the literal text and the fields of a URL.
type urlReader struct {
	decided  bool // what the scheme is, or that there is none
	begun    bool
	personal bool // a field came
	query    bool // a ? or # came
}

// literal reads literal text. It says why no field may stand in the URL, or "".
func (u *urlReader) literal(raw string) (why string) {
	text := html.UnescapeString(raw)
	if !u.decided {
		if why = u.scheme(text); why != "" {
			return why
		}
	}
	u.query = u.query || strings.ContainsAny(text, "?#")
	return ""
}

// scheme looks for a scheme's end, or another end of what could be one, as
// browsers do: they pass over tabs and line breaks, and over control
// characters and spaces at the beginning (URL standard, 4.4).
func (u *urlReader) scheme(text string) (why string) {
	text = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(text)
	if !u.begun {
		text = strings.TrimLeftFunc(text, isURLSpace)
	}
	u.begun = u.begun || text != ""
	end := strings.IndexAny(text, ":/?#")
	if end < 0 {
		return ""
	}
	u.decided = true
	if text[end] != ':' {
		return ""
	}
	if u.personal {
		return inScheme
	}
	switch strings.ToLower(text[:end]) {
	case "javascript", "vbscript", "data":
		return inCodeURL
	}
	return ""
}

// beforeField reads literal text that a field follows. It refuses the
// beginning of a character reference at its end, which the field could finish:
// "&#" and "58;" are a colon.
func (u *urlReader) beforeField(raw string) (why string) {
	if i := strings.LastIndexByte(raw, '&'); i >= 0 && !strings.ContainsFunc(raw[i+1:], endsReference) {
		before := *u
		if why = before.literal(raw[:i]); why != "" {
			return why
		}
		if !before.decided {
			return inReference
		}
	}
	return u.literal(raw)
}

// endsReference says whether a character is in no reference.
func endsReference(r rune) bool {
	return r != '#' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// field is the part that a field is in which comes next.
func (u *urlReader) field() (part urlPart) {
	switch {
	case u.query:
		part = urlQuery
	case u.decided:
		part = urlPath
	case u.begun:
		part = urlScheme
	default:
		part = urlBegin
	}
	u.begun, u.personal = true, true
	return part
}

// inertURL is what becomes of a URL that a contact's field may not bring: it
// leads nowhere, and shows nothing odd to the reader.
const inertURL = "#"

// soundURL gives a URL that a field brings as a browser trims it, or inertURL.
// It may be relative, or have one of the schemes that letters need. Anything
// else before a colon makes it inert, even a # or & that no browser takes for
// a scheme's: some programs decode what comes to them twice.
func soundURL(s string) string {
	s = strings.TrimFunc(s, isURLSpace)
	end := strings.IndexAny(s, ":/?")
	if end < 0 || s[end] != ':' {
		return s
	}
	for _, scheme := range [...]string{"https", "http", "mailto", "tel", "cid"} {
		if strings.EqualFold(s[:end], scheme) {
			return s
		}
	}
	return inertURL
}

// isURLSpace: browsers trim C0 control characters and spaces.
func isURLSpace(r rune) bool { return r <= ' ' }
