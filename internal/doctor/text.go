package doctor

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// printable keeps what came from outside from moving a terminal's cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(text, string(unicode.ReplacementChar)))
}

// Write writes the checks for people, a line a step and each hint below its
// step. The error is the writer's.
func Write(w io.Writer, checks []Check) error {
	var b strings.Builder
	for i, c := range checks {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s\n", c.Subject)
		width := nameWidth(c)
		for _, s := range c.Steps {
			fmt.Fprintf(&b, "  %-7s  %-*s  %9s  %s\n", label(s.State), width, s.Name, duration(s), s.Detail)
			if s.Hint != "" {
				fmt.Fprintf(&b, "  %-7s  %-*s  %9s  -> %s\n", "", width, "", "", s.Hint)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func nameWidth(c Check) int {
	width := 0
	for _, s := range c.Steps {
		width = max(width, len(s.Name))
	}
	return width
}

// label is what the eye looks for in capitals.
func label(s State) string {
	if s == Failed {
		return "FAILED"
	}
	return string(s)
}

// duration is empty where there was nothing to wait for.
func duration(s Step) string {
	if s.Milliseconds == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f ms", s.Milliseconds)
}
