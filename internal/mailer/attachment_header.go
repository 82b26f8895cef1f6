package mailer

import (
	"fmt"
	"strings"
)

// disposition is the value of the attachment's Content-Disposition
// (RFC 2183). A name that is not ASCII stands there as RFC 2231 has it and in
// no second form: readers that know both take the wrong one.
func (f file) disposition() string {
	if isASCII(f.name) {
		return "attachment;\r\n filename=" + quoted(f.name)
	}
	return "attachment;" + extendedParameter("filename", f.name)
}

// typeWithName is the value of the attachment's Content-Type. The name
// parameter is for readers that overlook Content-Disposition; they know
// encoded words there, which RFC 2047 5 does not allow and everyone writes.
func (f file) typeWithName() string {
	value := []byte(f.contentType + ";\r\n name=")
	if isASCII(f.name) {
		return string(appendQuoted(value, []byte(f.name)))
	}
	value = append(value, '"')
	// Some of those readers decode the words before they parse the parameter,
	// which a mark in the name would end.
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("\"\\;", r) {
			return '_'
		}
		return r
	}, f.name)
	value = appendEncodedWords(value, []byte(name), len(`"`))
	return string(append(value, '"'))
}

func quoted(s string) string { return string(appendQuoted(nil, []byte(s))) }

// maxParameterValue is how much of an encoded value goes into one line.
const maxParameterValue = 54

// extendedParameter is a parameter with a UTF-8 value (RFC 2231 4), a line
// for each section; a value that needs one only has no section number.
func extendedParameter(name, value string) string {
	sections := percentSections(value)
	if len(sections) == 1 {
		return "\r\n " + name + "*=UTF-8''" + sections[0]
	}
	var b strings.Builder
	for i, section := range sections {
		if i == 0 {
			section = "UTF-8''" + section
		} else {
			b.WriteByte(';')
		}
		fmt.Fprintf(&b, "\r\n %s*%d*=%s", name, i, section)
	}
	return b.String()
}

// percentSections percent-encodes value in sections of whole characters.
func percentSections(value string) []string {
	var sections []string
	var section []byte
	for _, r := range value {
		before := len(section)
		for _, c := range []byte(string(r)) {
			if isAttributeChar(c) {
				section = append(section, c)
			} else {
				section = append(section, '%', upperHex[c>>4], upperHex[c&15])
			}
		}
		if len(section) > maxParameterValue {
			sections = append(sections, string(section[:before]))
			section = append(section[:0], section[before:]...)
		}
	}
	return append(sections, string(section))
}

// isAttributeChar is a part of attribute-char of RFC 2231 7 that needs no
// thought.
func isAttributeChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '.' || c == '-' || c == '_'
}
