package podtest

import (
	"strings"
	"time"
)

// attribute returns an attribute of the last log record that holds a text; empty if there is none.
func attribute(log, text, name string) string {
	value := ""
	for line := range strings.Lines(log) {
		if !strings.Contains(line, text) {
			continue
		}
		if _, after, ok := strings.Cut(line, " "+name+"="); ok {
			value, _, _ = strings.Cut(strings.TrimSpace(after), " ")
		}
	}
	return value
}

// newPause returns a ticker for what is tried again.
func newPause() *time.Ticker { return time.NewTicker(100 * time.Millisecond) }
