package app_test

// fieldRows are values of contacts, which often come from forms that anybody
// fills in, at places of HTML where an escaped value could still do harm.
func fieldRows() []hostile {
	unsafe := func(html string) func(*target) outcome { return submits(body{"body": html}) }
	filled := func(value, html, shown string) func(*target) outcome {
		return mails(body{"link": value}, body{"body": html}, whole(shown))
	}
	const link = `<a href="{{link}}">`
	return []hostile{
		{`javascript:alert(1) in a field that is a link: href="{{link}}"`, filled("javascript:alert(1)", link, "<a"), 202, "", `<a href=3D"#">`},
		{`JaVaScRiPt: with a tab within and control characters before it`, filled(" \x01Ja\tVaScRiPt:alert(1)", link, "<a"), 202, "", `<a href=3D"#">`},
		{`&#106;avascript:alert(1), for who decodes twice`, filled("&#106;avascript:alert(1)", link, "<a"), 202, "", `<a href=3D"#">`},
		{`data:text/html,<script> in a field that is a link`, filled("data:text/html,<script>alert(1)</script>", link, "<a"), 202, "", `<a href=3D"#">`},
		{`script:alert(1) behind href="java`, filled("script:alert(1)", `<a href="java{{link}}">`, "<a"), 202, "", `"javascript%3Aalert%281%29"`},
		{`&admin=1#" in a field within a query`, filled(`&admin=1#"`, `<a href="?a={{link}}">`, "<a"), 202, "", `%26admin%3D1%23%22`},
		{`x onclick=alert(1) in an attribute without quotes`, filled("x onclick=alert(1)", `<p title={{link}}>`, "<p"), 202, "", `title=3Dx&#32;onclick&#61;alert(1)>`},
		{`an empty field in an attribute without quotes, which would take the next attribute for its value`,
			filled("", `<p title={{link}} id=a>`, "<p"), 202, "", `title=3D&#32; id=3Da>`},
		{`a field in a script`, unsafe("<p>Hello</p>\n<script>var name = '{{name}}'</script>"), 400, "body", `"name" within <script>, where no escaping is safe`},
		{`a field in a style sheet`, unsafe("<style>p{color:{{colour}}}</style>"), 400, "body", `"colour" within <style>`},
		{`a field in a style attribute`, unsafe(`<p style="color:{{colour}}">`), 400, "body", "attribute style, which is CSS"},
		{`a field in an event handler`, unsafe(`<p onclick="f('{{name}}')">`), 400, "body", "attribute onclick, which is code"},
		{`a field in a comment`, unsafe(`<!-- {{name}} -->`), 400, "body", "in a comment"},
		{`a field that is a tag, and one that is an attribute`, unsafe(`<{{a}}><p {{b}}>`), 400, "body", "in the name of a tag or attribute"},
		{`a field within the URL of a script: href="javascript:f({{x}})"`, unsafe(`<a href="&#106;avascript:f({{x}})">`), 400, "body", "what follows code or a document"},
		{`a field before a colon: href="{{x}}:alert(1)"`, unsafe(`<a href="{{x}}:alert(1)">`), 400, "body", "of which it would make the scheme"},
		{`a field that could finish a character reference: href="&#{{x}}"`, unsafe(`<a href="&#{{x}}">`), 400, "body", "behind an &"},
		{`a field in a list of addresses: srcset`, unsafe(`<img srcset="{{x}} 2x">`), 400, "body", "use src"},
	}
}
