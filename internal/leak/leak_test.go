package leak

import (
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { os.Exit(Run(m)) }

// tests are tests that end with a code.
type tests int

func (t tests) Run() int { return int(t) }

func TestWhatEndsLateIsNoLeak(t *testing.T) {
	others := goleak.IgnoreCurrent()
	go func() { <-time.After(2 * time.Second) }() // goleak itself would give up
	if err := Find(others); err != nil {
		t.Error(err)
	}
}

// stays is what does not end before it is told to.
func stays(end <-chan struct{}) { <-end }

func TestWhatStaysIsTold(t *testing.T) {
	others := goleak.IgnoreCurrent()
	end := make(chan struct{})
	go stays(end)
	if err := find(0, others); err == nil || !strings.Contains(err.Error(), "leak.stays") {
		t.Errorf("told is %v", err)
	}
	if code := run(tests(0), 0); code != 1 {
		t.Errorf("tests that pass and leave it end with %d", code)
	}
	if code := run(tests(3), 0); code != 3 {
		t.Errorf("tests that fail and leave it end with %d", code)
	}
	close(end)
	if err := Find(others); err != nil {
		t.Error(err)
	}
	if code := run(tests(0), patience); code != 0 {
		t.Errorf("tests that pass and leave nothing end with %d", code)
	}
}
