package mailer

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func TestTemplateParse(t *testing.T) {
	t.Parallel()
	lit := func(s string) span { return span{literal: s} }
	field := func(name, fallback string) span { return span{field: name, fallback: fallback} }
	tests := []struct {
		name, source string
		want         template
	}{
		{"literal", "no placeholders", template{lit("no placeholders")}},
		{"tight", "a{{x}}b", template{lit("a"), field("x", ""), lit("b")}},
		{"spaced", "{{ x }}", template{field("x", "")}},
		{"over lines", "{{\n x\r\n}}", template{field("x", "")}},
		{"adjacent", "{{x}}{{y}}", template{field("x", ""), field("y", "")}},
		{"name with a space", "{{First Name}}", template{field("First Name", "")}},
		{"name in another script", "{{имя}}", template{field("имя", "")}},
		{"email", "{{email}}", template{field("email", "")}},
		{"default", `{{ x | default: "there" }}`, template{field("x", "there")}},
		{"tight default", `{{x|default:"there"}}`, template{field("x", "there")}},
		{"single quotes", `{{x|default: 'say "hi"'}}`, template{field("x", `say "hi"`)}},
		{"empty default", `{{x|default: ""}}`, template{field("x", "")}},
		{"bar in default", `{{x|default: "a|b"}}`, template{field("x", "a|b")}},
		{"quotes as entities", `{{x | default: &quot;R&amp;D&quot;}}`, template{field("x", "R&D")}},
		{"no-break spaces", "{{\u00a0x&nbsp;}}", template{field("x", "")}},
		{"css", "a{b:c}", template{lit("a{b:c}")}},
		{"nested css", "@media x{a{b:c}}", template{lit("@media x{a{b:c}}")}},
		{"css with an id", "@media x{#a{b:c}}", template{lit("@media x{#a{b:c}}")}},
		{"placeholder in css", "a{color:{{x}}}", template{lit("a{color:"), field("x", ""), lit("}")}},
		{"keyframes", "@keyframes k{0%{top:0}50%{top:1}}", template{lit("@keyframes k{0%{top:0}50%{top:1}}")}},
		{"lone closing", "a }} b", template{lit("a }} b")}},
		{"lone braces", "{ } {", template{lit("{ } {")}},
		{"line breaks", "a\r\nb\rc\nd", template{lit("a\nb\nc\nd")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, rules := htmlSyntax.parse(tt.source)
			if rules != nil {
				t.Fatalf("rules: %q", rules)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %#v, want %#v", got, tt.want)
			}
		})
	}
}

func TestTemplateFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, source string
		want         []string // what each rule contains
	}{
		{"empty", " \n", []string{"must not be empty"}},
		{"invalid UTF-8", "a\xff", []string{"valid UTF-8"}},
		{"too long", strings.Repeat("x", maxBodyTemplateOctets+1), []string{"at most 1048576 octets"}},
		{"too many", strings.Repeat("{{x}}", maxPlaceholders+1), []string{"at most 1000 placeholders"}},
		{"unclosed", "a\nbc {{x", []string{"{{ without its }} (line 2, column 4)"}},
		{"column in characters", "äöü{{x", []string{"line 1, column 4"}},
		{"after a lone CR", "a\rb{{x", []string{"line 2, column 2"}},
		{"tag", "{% for x in y %}", []string{"{% tag, which is not understood; only {{field}} is (line 1, column 1)"}},
		{"three braces", "a {{{x}}} b", []string{"three or more { in a row (line 1, column 3)"}},
		{"nested", "{{a{{b}}}}", []string{"braces within a placeholder"}},
		{"brace in default", `{{a|default: "}"}}`, []string{"braces within a placeholder"}},
		{"no name", "{{ }}", []string{`placeholder "", which must be a field name`}},
		{"name too long", "{{" + strings.Repeat("n", 65) + "}}", []string{"must be a field name of 1 to 64 octets"}},
		{"quote in name", `{{a"b}}`, []string{"must be a field name without"}},
		{"control in name", "{{a\x01b}}", []string{"must be a field name without"}},
		{"block", "{{#if vip}}x{{/if}}", []string{`"#if vip"; only field names`, `"/if"; only field names`}},
		{"go template", "{{.Name}}", []string{`".Name"; only field names`}},
		{"markup in a name", "{{<b>x</b>}}", []string{"only field names"}},
		{"unknown filter", "{{x | upcase}}", []string{`unknown filter "upcase"`}},
		{"default without text", "{{x | default}}", []string{"one text in quotes"}},
		{"default without quotes", "{{x | default: there}}", []string{"one text in quotes"}},
		{"default with curly quotes", "{{x | default: “there”}}", []string{"one text in quotes"}},
		{"two filters", `{{x | default: "a" | upcase}}`, []string{"one text in quotes"}},
		{"half a quote", `{{x | default: "}}`, []string{"one text in quotes"}},
		{"all of them", "{{a|b}} {{c|d}}\n{% e %} {{f", []string{"column 1", "column 9", "line 2, column 1", "line 2, column 9"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, rules := htmlSyntax.parse(tt.source)
			if len(rules) != len(tt.want) {
				t.Fatalf("got %q, want %d rules", rules, len(tt.want))
			}
			for i, want := range tt.want {
				if !strings.Contains(rules[i], want) {
					t.Errorf("rule %d is %q, want %q in it", i, rules[i], want)
				}
			}
		})
	}
}

func TestTemplateFaultsAreBounded(t *testing.T) {
	t.Parallel()
	_, rules := htmlSyntax.parse(strings.Repeat("{{{", maxBodyTemplateOctets/3))
	if len(rules) != 1 {
		t.Errorf("one run of braces has %d faults", len(rules))
	}
	_, rules = htmlSyntax.parse(strings.Repeat("{%", maxBodyTemplateOctets/2))
	if len(rules) != maxTemplateFaults {
		t.Errorf("%d faults, want %d", len(rules), maxTemplateFaults)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{
		"<p>Hi {{first_name | default: \"there\"}}</p>", "{{{x}}}", "{% x %}", "a{{b|c}}d{{", "{{a}}}}", "{{\r\n.}}",
		"{{x | default: '&#123;&#123;y}}'}}", "<a href='{{x}}'>{{email}}</a>.", "{", "{{", "}}{{x}}\r.\r\n",
	} {
		f.Add(s, "value")
	}
	position := regexp.MustCompile(`\(line \d+, column \d+\)$`)
	f.Fuzz(func(t *testing.T, source, v string) {
		parsed, rules := htmlSyntax.parse(source)
		if len(rules) > 0 {
			for _, r := range rules {
				if !strings.HasPrefix(r, "must ") && !position.MatchString(r) {
					t.Fatalf("%q has no position", r)
				}
			}
			return
		}
		if !strings.Contains(source, "{{") && (len(parsed) != 1 || parsed[0].literal != normalizeBreaks(source)) {
			t.Fatalf("literal %q became %#v", source, parsed)
		}
		c := aContent()
		c.Subject, c.HTML = "x", source
		if rules = parsed.place(source); len(rules) > 0 {
			for _, r := range rules {
				if !position.MatchString(r) {
					t.Fatalf("%q has no position", r)
				}
			}
			if _, err := Compile(c); err == nil {
				t.Fatalf("%q was not refused", source)
			}
			return
		}
		l := mustCompile(t, c)
		fields := map[string]string{"email": "a@example.com"}
		for _, name := range l.Fields()[2:] {
			fields[name] = strings.ToValidUTF8(v, "?")
		}
		gotText, gotHTML := bodies(t, mustRender(t, l, "a@example.com", fields))
		// enmime drops what it takes for a byte order mark or trailing space
		// nowhere, so the comparison is exact.
		if want := expandHTML(parsed, fields); gotHTML != want {
			t.Errorf("HTML is %q, want %q", gotHTML, want)
		}
		if want := expand(parsed.plainText(), fields, asIs); gotText != want {
			t.Errorf("text is %q, want %q", gotText, want)
		}
	})
}
