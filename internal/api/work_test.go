package api

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// allocated is how many octets are allocated while do runs. It counts the whole
// process, so tests that use it are not parallel ones.
func allocated(do func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc - before.TotalAlloc)
}

// TestDecodingTakesInProportion decodes texts that are made to become many
// times their size. What is allocated, which is what is copied and built, grows
// no faster than the text, and no text of 4 MiB takes more than 32 of its size.
//
//nolint:paralleltest // it counts the process's allocations
func TestDecodingTakesInProportion(t *testing.T) {
	const small, large = 1 << 19, 4 << 20
	for name, text := range hugeTexts() {
		take := func(size int) float64 {
			body := []byte(text(size))
			return allocated(func() {
				var contacts contactsIn
				if decode(body, &contacts) == nil {
					_, _ = contacts.changes()
				}
				var letter campaignIn
				if decode(body, &letter) == nil {
					_, _ = letter.submission()
				}
			})
		}
		few, lots := take(small), take(large)
		if lots > 12*few+large || lots > 32*large {
			t.Errorf("%s: %.1f MiB are allocated for 0.5 MiB, %.1f for 4 MiB", name, few/(1<<20), lots/(1<<20))
		}
	}
}

func hugeTexts() map[string]func(size int) string {
	fill := func(head, unit, tail string) func(int) string {
		return func(size int) string {
			return head + strings.TrimSuffix(strings.Repeat(unit, size/len(unit)), ",") + tail
		}
	}
	contacts := func(unit string) func(int) string { return fill(`{"contacts":[`, unit, `]}`) }
	return map[string]func(int) string{
		"tags in one string":        fill(`{"email":"a@b.example","tags":"`, "a,", `"}`),
		"empty tags":                contacts(`{"tags":[` + strings.Repeat(`"",`, 9999) + `""]},`),
		"contacts with many fields": contacts(`{"email":"a@b.example"` + memberList(100, `""`) + `},`),
		"contacts with many faults": contacts(`{"email":""` + memberList(900, `[]`) + `},`),
		"fields to be removed":      contacts(`{"email":"a@b.example"` + memberList(900, `null`) + `},`),
		"empty contacts":            contacts(`{},`),
		"brackets":                  fill("", "[", ""),
		"a name":                    fill(`{"`, "k", `":1}`),
		"a name of escapes":         fill(`{"`, `\u0041`, `":1}`),
		"a value of escapes":        fill(`{"email":"`, `\n`, `"}`),
		"a number":                  fill(`{"smtp_port":`, "1", `}`),
		"base64":                    fill(`{"attachments":[{"content":"`, "AAAA", `"}]}`),
		"base64 with escapes":       fill(`{"attachments":[{"content":"`, `AAAA\r\n`, `"}]}`),
		"recipients":                fill(`{"recipients":[`, `"",`, `]}`),
		"white space":               fill("", " ", "{}"),
	}
}

func memberList(n int, value string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"%x":%s`, i, value)
	}
	return b.String()
}
