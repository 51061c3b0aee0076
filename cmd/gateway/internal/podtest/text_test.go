package podtest

import (
	"strconv"
	"strings"
	"testing"
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

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	must(t, err)
	return n
}
