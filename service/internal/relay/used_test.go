package relay

import (
	"strconv"
	"testing"
	"time"
)

// TestUsedForgetsInTime: what was used is known for as long as it could be used again, and not for ever; nor are there ever more than two halves of it.
func TestUsedForgetsInTime(t *testing.T) {
	var u used
	start := time.Now()
	for _, c := range []struct {
		name  string
		after time.Duration
		want  bool
	}{
		{"a", 0, true}, {"a", 0, false}, {"b", remembered, true}, {"a", remembered, false}, {"c", remembered + 1, true},
		{"b", 2 * remembered, false}, {"a", 2 * remembered, false}, {"d", 2*remembered + 2, true}, {"a", 2*remembered + 2, true}, {"c", 2*remembered + 2, false},
	} {
		if got := u.first(c.name, start.Add(c.after)); got != c.want {
			t.Errorf("%s after %v is new: %v", c.name, c.after, got)
		}
	}
	for i := range 3 * mostUsed {
		if !u.first(strconv.Itoa(i), start.Add(3*remembered)) {
			t.Fatalf("%d is not new", i)
		}
		if n := len(u.now) + len(u.before); n > 2*mostUsed {
			t.Fatalf("%d are remembered", n)
		}
	}
	if u.first(strconv.Itoa(3*mostUsed-1), start.Add(3*remembered)) {
		t.Error("the last one is forgotten")
	}
}
