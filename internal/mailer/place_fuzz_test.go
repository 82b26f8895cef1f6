package mailer

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/quotedprintable"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// shape is what a value must not change in a letter: its tags with the names
// of their attributes, its comments and doctypes; and the schemes of its URLs.
type shape struct {
	tokens  []string
	schemes []string
}

// shapeOf reads HTML by the tokenizer; what Outlook reads in comments besides.
func shapeOf(source string) (s shape) {
	tokens := html.NewTokenizer(strings.NewReader(source))
	for {
		kind := tokens.Next()
		if kind == html.ErrorToken {
			return s
		}
		raw := string(tokens.Raw())
		token := tokens.Token()
		if kind == html.TextToken {
			continue
		}
		name := token.Data
		if kind == html.CommentToken {
			name = ""
			if inner, ok := conditionalHTML(raw); ok {
				within := shapeOf(inner)
				s.tokens = append(s.tokens, within.tokens...)
				s.schemes = append(s.schemes, within.schemes...)
			}
		}
		line := fmt.Sprint(kind, " ", name)
		for _, a := range token.Attr {
			line += " " + a.Key
			if isURL(a.Key) {
				s.schemes = append(s.schemes, schemeOf(a.Val))
			}
		}
		s.tokens = append(s.tokens, line)
	}
}

// schemeOf gives the scheme that a browser sees in a URL, "" for none.
func schemeOf(url string) string {
	url = strings.TrimLeft(strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(url), "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f"+
		"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f ")
	for i, c := range url {
		switch {
		case c == ':' && i > 0:
			return strings.ToLower(url[:i])
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', i > 0 && strings.ContainsRune("0123456789+-.", c):
		default:
			return ""
		}
	}
	return ""
}

// elementsOf gives the elements that a parser makes, in order.
func elementsOf(tb testing.TB, source string) (found []string) {
	tb.Helper()
	root, err := html.Parse(strings.NewReader(source))
	if err != nil {
		return []string{"too deep for the parser"}
	}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			found = append(found, n.Data)
		}
	}
	return found
}

// checkPlaces holds a template with values against the same one with harmless
// values. It says whether the template was accepted.
func checkPlaces(t *testing.T, source, first, second string) (accepted bool) {
	t.Helper()
	parsed, rules := htmlSyntax.parse(source)
	if len(rules) > 0 || len(parsed.place(source)) > 0 || !parsed.personal() {
		return false
	}
	harmless := htmlOf(t, parsed, "harmless", "harmless")
	hostile := htmlOf(t, parsed, first, second)
	want, got := shapeOf(harmless), shapeOf(hostile)
	if !slices.Equal(got.tokens, want.tokens) {
		t.Errorf("%q with %q and %q has another shape:\ngot  %q\nwant %q\n%s", source, first, second, got.tokens, want.tokens, hostile)
		return true
	}
	for i, scheme := range got.schemes {
		switch scheme {
		case "", "http", "https", "mailto", "tel", "cid", want.schemes[i]:
		default:
			t.Errorf("%q with %q and %q has the scheme %q\n%s", source, first, second, scheme, hostile)
		}
	}
	// Whether there is text decides about elements that a parser adds.
	if isShown(first) && isShown(second) {
		if got, want := elementsOf(t, hostile), elementsOf(t, harmless); !slices.Equal(got, want) {
			t.Errorf("%q with %q and %q has other elements:\ngot  %q\nwant %q\n%s", source, first, second, got, want, hostile)
		}
	}
	return true
}

func isShown(value string) bool { return strings.Trim(value, "\x00\t\n\f\r ") != "" }

// htmlOf renders a template as a letter does, and decodes it.
func htmlOf(tb testing.TB, parsed template, first, second string) string {
	tb.Helper()
	var e bodyEncoder
	for _, s := range parsed {
		switch s.field {
		case "":
			e.text(s.literal)
		case "x":
			e.markup(first, s.place)
		default:
			e.markup(second, s.place)
		}
		e.join()
	}
	decoded, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(e.out)))
	if err != nil {
		tb.Fatal(err)
	}
	return string(decoded)
}

// templateParts are what random templates are made of.
var templateParts = strings.Split("{{x}}~{{x}}~{{x}}~{{y}}~{{y}}~ ~\n~a~<p ~<a ~<b>~</b>~<img ~<table><tr><td>~</p>~>~>~>~/>~<~</~\"~\"~'~'~=~`~"+
	"title=~title=\"~href=\"~href=\"~href='~href=~src=~ xlink:href=\"~HREF = '~onclick=\"~style='~srcset=\"~action=~data=\"~background='~cite=\"~"+
	"http://~https://a.test/~javascript:~data:~mailto:~java~:~/~?~#~?a=~&~&#~&amp;~&colon;~&#58~&#10~&Tab;~%~%3~\t~\x01~"+
	"<title>~</title>~<textarea>~</textarea>~<style>~</style>~<script>~</script>~<noscript>~</noscript>~<iframe>~</iframe>~<plaintext>~"+
	"<!--~-->~<!-->~--!>~<!--[if mso]>~<![endif]-->~<!--[if !mso]><!-->~<!--<![endif]-->~<!~<?~<![CDATA[~]]>~<!DOCTYPE html>~"+
	"<svg>~</svg>~<math>~<select>~<option>~<meta http-equiv=refresh content=\"~<base ~<link ~<v:rect ~<a href=\"{{x}}\">~<p title={{y}}>~"+
	"<a href={{x}}~<a href='{{x}}{{y}}~<a href=\"https://a.test/{{x}}?{{y}}", "~")

// hostileValues are what random contacts have.
var hostileValues = strings.Split("~ ~a~\x00~\t~\r\n~javascript:alert(1)~JAVASCRIPT:x~java\tscript:x~ \x01javascript:x~&#106;avascript:x~javascript&colon;x~"+
	"script:x~106;avascript:x~colon;x~58;x~x6A;avascript:x~:x~:alert(1)~javascript~//host~https:~https://a.test/?b=c~data:text/html,<script>~vbscript:x~"+
	"\"~'~`~=~>~<~/~/>~-->~--!>~]]>~</title>~</textarea>~</style>~</script>~<script>~<!--~<p ~a b=c~a onclick=b~\" onclick=\"x~' onclick='x~` onclick=`x~"+
	"&~&lt~lt;~&quot;~&#34;~%~%22~?~#~{{y}}~\ufeff~\u2028~é~if mso]>~<![endif]-->~\x0b~\x0c", "~")

// urlParts are what random URLs are made of.
var urlParts = strings.Split("{{x}}~{{x}}~{{y}}~java~script~data~h~http~:~&colon;~&#58~&#~&~&amp;~&#10~&Tab;~\t~\x01~ ~/~//~?~#~a=~%~https://a.test", "~")

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

// randomTemplate makes a template of any parts, or one that is a link.
func randomTemplate(r *rand.Rand) string {
	var source strings.Builder
	parts, end := templateParts, ""
	if r.IntN(2) == 0 {
		quote := pick(r, []string{"\"", "'", ""})
		source.WriteString("<a href=" + quote)
		parts, end = urlParts, quote+" id=a>"
	}
	for range 2 + r.IntN(8) {
		source.WriteString(pick(r, parts))
	}
	return source.String() + end
}

// TestRandomPlaces tries twenty thousand random templates that are accepted.
func TestRandomPlaces(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2)) // the same templates each time
	accepted, tries := 0, 0
	for ; accepted < 20_000 && tries < 400_000 && !t.Failed(); tries++ {
		if checkPlaces(t, randomTemplate(r), pick(r, hostileValues), pick(r, hostileValues)) {
			accepted++
		}
	}
	if !t.Failed() && accepted < 20_000 {
		t.Errorf("only %d of %d templates were accepted", accepted, tries)
	}
}

// FuzzPlace holds that no value changes a letter's tags, nor brings a scheme.
// Templates are made of parts, one for each octet, or are text.
func FuzzPlace(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4)) // the same seeds each time
	for range 300 {
		f.Add(randomTemplate(r), []byte{}, pick(r, hostileValues), pick(r, hostileValues))
	}
	for _, raw := range tagsToRead {
		f.Add(raw+"{{x}}", []byte{1, 9, 20}, "a", "b")
	}
	f.Fuzz(func(t *testing.T, source string, parts []byte, first, second string) {
		for _, i := range parts {
			source += templateParts[int(i)%len(templateParts)]
		}
		if len(source) > 4<<10 || !utf8.ValidString(source) {
			return
		}
		checkPlaces(t, source, strings.ToValidUTF8(first, "?"), strings.ToValidUTF8(second, "?"))
		if i := strings.IndexByte(source, '<'); i >= 0 {
			checkReadTag(t, normalizeBreaks(source[i:]))
		}
	})
}
