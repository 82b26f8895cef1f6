package mailer

import (
	"runtime"
	"strings"
	"testing"
)

// TestCompilingTakesInProportion compiles bodies that are made to be costly.
// What is allocated, which is what is copied and built, grows no faster than
// the body.
//
//nolint:paralleltest // it counts the process's allocations
func TestCompilingTakesInProportion(t *testing.T) {
	for _, unit := range []string{
		"{{", "{", "{ ", "{%", "{{x}}", `{{x | default: "&amp;"}}`, "<a>", "<ul><li>", "<!--", "<", "</", "<a b ", "<a href='x", "&", "&amp;", "<pre>\n",
		"<blockquote>x<br>", "<script>", "<script><!--", "<![CDATA[", "<a href=y>x", "<img alt=x>", "<td>x", "\r\n", "\r", "ж", ".\n", "=", "<svg><style>",
	} {
		take := func(size int) float64 {
			c := aContent()
			c.HTML = strings.Repeat(unit, size/len(unit))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _ = Compile(c) // what is too much is a fault, and takes no more
			runtime.ReadMemStats(&after)
			return float64(after.TotalAlloc - before.TotalAlloc)
		}
		few, lots := take(1<<17), take(1<<20)
		if lots > 12*few+1<<20 {
			t.Errorf("%q: %.1f MiB are allocated for 1/8 MiB, %.1f for 1 MiB", unit, few/(1<<20), lots/(1<<20))
		}
	}
}
