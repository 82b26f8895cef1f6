package mailer

import (
	"strings"
	"testing"
)

func TestPlainText(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, html, want string }{
		{"text", "Hello", "Hello"},
		{"paragraphs", "<p>One</p><p>Two</p>", "One\n\nTwo"},
		{"line breaks", "a<br>b<br/>c<br><br><br><br>d", "a\nb\nc\n\nd"},
		{"break at the end of a block", "<div>a<br></div><div>b</div>", "a\nb"},
		{"blocks", "<div>a</div><div>b<div>c</div></div>", "a\nb\nc"},
		{"white space", "  a \n\t b&nbsp;&nbsp; <b> c </b> d<i>e</i> ", "a b c de"},
		{"headings", "<h1>Title</h1>Text<h2>Sub</h2><p>More</p>", "Title\n\nText\n\nSub\n\nMore"},
		{"list", "Before<ul><li>a</li><li>b</li></ul>after", "Before\n\n- a\n- b\n\nafter"},
		{"ordered list", "<ol><li>a<li>b<li><p>c</p></ol>", "1. a\n2. b\n\n3. c"},
		{"nested list", "<ul><li>a<ol><li>b</li><li>c<br>d</li></ol></li><li>e</li></ul>", "- a\n  1. b\n  2. c\n    d\n- e"},
		{"item without list", "<li>a</li>", "- a"},
		{"empty item", "<ul><li></li><li>b</li></ul>", "- b"},
		{"link", `See <a href="https://example.com/a?b=1&amp;c=2">here</a>.`, "See here (https://example.com/a?b=1&c=2)."},
		{"link to its own text", `<a href="https://example.com/">example.com</a>`, "example.com"},
		{"mail link", `<a href="mailto:a@b.c">a@b.c</a> <a href="mailto:a@b.c">write</a>`, "a@b.c write (a@b.c)"},
		{"link within the page", `<a href="#top">top</a> <a>none</a> <a href="JavaScript:x()">js</a>`, "top none js"},
		{"link around a block", `<a href="u:1"><div>Go</div></a>on`, "Go (u:1)\non"},
		{"link with a picture", `<a href="u:1"><img src="x" alt="Logo"></a> <a href="u:2"><img src="y"></a>`, "Logo (u:1) u:2"},
		{"link left open", `<a href="u:1">one <a href="u:2">two</a>`, "one (u:1) two (u:2)"},
		{"picture", `x <img alt="a&nbsp;cat"> y <img src=x> z`, "x a cat y z"},
		{"table", "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td></td><td>2</td></tr></table>x", "a | b\n1 | 2\n\nx"},
		{"layout table", "<table><tr><td><table><tr><td><p>a</p></td></tr></table></td><td>b</td></tr></table>", "a\n\nb"},
		{"hidden", "<head><title>t</title><style>a{b:c}</style></head><body>x<script>y()</script><style>z</style>w</body>", "xw"},
		{"head left open", "<html><head><meta charset=x><body>x", "x"},
		{"comments", "a<!-- b --><!--[if mso]><p>c</p><![endif]-->d", "ad"},
		{"entities", "&lt;b&gt; &amp; &eacute; &#8364; &quot;", `<b> & é € "`},
		{"quotation", "<blockquote>a<br>b<blockquote>c</blockquote></blockquote>d", "> a\n> b\n\n> > c\n\nd"},
		{"rule", "a<hr>b", "a\n\n---\n\nb"},
		{"preformatted", "<pre>a  b\n  c\n\nd</pre>e", "a  b\n  c\n\nd\n\ne"},
		{"stray end tags", "</ul></blockquote></pre></a></li>a</p>", "a"},
		{"nothing", "<img src=x>", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := textOf(tt.html); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPlainTextKeepsPlaceholders(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, html, want string }{
		{"in text", "<p>Dear {{first_name}},</p>", "Dear [first_name],"},
		{"adjacent", "{{a}}{{b}} {{c}}", "[a][b] [c]"},
		{"default with quotes", `<a href="{{link | default: "https://x"}}">go</a>`, "go ([link|https://x])"},
		{"default with markup", `{{x | default: "<b>&lt;"}}`, "[x|<b><]"},
		{"in an address", `<a href="https://x/?u={{email}}&amp;c={{c}}">go</a>`, "go (https://x/?u=[email]&c=[c])"},
		{"link to its own text", `<a href="{{link}}">{{ link }}</a>`, "[link]"},
		{"mail link", `<a href="mailto:{{email}}">{{email}}</a>`, "[email]"},
		{"alternative text", `<img alt="{{x}}">`, "[x]"},
		{"in style and comment", `<style>a{color:{{x}}}</style><!-- {{y}} -->z`, "z"},
		{"as a tag", "<{{x}}>a", "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			parsed, rules := htmlSyntax.parse(tt.html)
			if rules != nil {
				t.Fatal(rules)
			}
			if got := shown(parsed.plainText()); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func shown(t template) string {
	var b strings.Builder
	for _, s := range t {
		switch {
		case s.field == "":
			b.WriteString(s.literal)
		case s.fallback == "":
			b.WriteString("[" + s.field + "]")
		default:
			b.WriteString("[" + s.field + "|" + s.fallback + "]")
		}
	}
	return b.String()
}

func FuzzPlainText(f *testing.F) {
	for _, s := range []string{
		"<p>Hi {{x}}</p>", "<ul><li>a<ol><li>{{y}}", "<a href='{{x}}'>a<a href=b>", "<table><tr><td>a<td>b",
		"<blockquote><blockquote><pre> a\r\n b", "<head><style>{{x}}</style>", "<script>", "&#x0;&nbsp;<!--", "<plaintext><b>{{x}}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		parsed, rules := htmlSyntax.parse(source)
		if len(rules) > 0 {
			return
		}
		text := expand(parsed.plainText(), nil, func(string) string { return "x" })
		text = normalizeBreaks(text)
		if strings.Contains(text, "\n\n\n") || strings.HasPrefix(text, "\n") || strings.HasSuffix(text, "\n") {
			t.Errorf("%q gives %q, which has blank lines in excess", source, text)
		}
		// Each octet of a tag can owe a line with marks in front.
		if len(text) > (len(source)+1)*(2+2*2*maxTextDepth+len("&nbsp;")) {
			t.Errorf("%d octets of HTML give %d of text", len(source), len(text))
		}
		inHTML := make(map[string]bool)
		for _, s := range parsed {
			inHTML[s.field] = true
		}
		for _, s := range parsed.plainText() {
			if !inHTML[s.field] && s.field != "" {
				t.Errorf("%q has the placeholder %q in its text only", source, s.field)
			}
		}
	})
}
