package timerslack

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Every thread has it, whoever started it.
func TestEveryThreadHasTheSlack(t *testing.T) {
	var threads sync.WaitGroup
	for range 8 {
		threads.Go(func() {
			runtime.LockOSThread()
			if n, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || n != Nanoseconds {
				t.Errorf("the slack is %d ns, %v; want %d", n, err, Nanoseconds)
			}
		})
	}
	threads.Wait()
	all, err := filepath.Glob("/proc/self/task/*")
	if err != nil || len(all) < 2 {
		t.Fatalf("threads: %v, %v", all, err)
	}
	for _, thread := range all { // Go's monitor among them
		b, err := os.ReadFile(filepath.Join("/proc", filepath.Base(thread), "timerslack_ns"))
		if err != nil {
			continue // It has ended.
		}
		if got := strings.TrimSpace(string(b)); got != strconv.Itoa(Nanoseconds) {
			t.Errorf("thread %s has a slack of %s ns, want %d", filepath.Base(thread), got, Nanoseconds)
		}
	}
}
