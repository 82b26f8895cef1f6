package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"postern/internal/client"
)

const barWidth = 40

// bar shows progress: on a terminal one line that is drawn over, elsewhere a
// line for each change.
type bar struct {
	out      io.Writer
	terminal bool
	last     string
}

func newBar(out io.Writer) *bar {
	b := &bar{out: out}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		b.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return b
}

func (b *bar) draw(s client.Status) {
	done := 0
	if s.Total > 0 {
		done = barWidth * (s.Total - s.Pending) / s.Total
	}
	line := fmt.Sprintf("[%s%s] %d of %d sent, %d failed: %s",
		strings.Repeat("#", done), strings.Repeat(".", barWidth-done), s.Sent, s.Total, s.Failed, s.Status)
	if s.Notice != "" {
		line += " (" + s.Notice + ")"
	}
	switch {
	case line == b.last:
		return
	case b.terminal:
		_, _ = fmt.Fprintf(b.out, "\r\x1b[K%s", line)
	default:
		_, _ = fmt.Fprintln(b.out, line)
	}
	b.last = line
}

func (b *bar) end() {
	if b.terminal {
		_, _ = fmt.Fprintln(b.out)
	}
}
