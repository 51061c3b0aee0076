package timerslack

import (
	"runtime"
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
}

// The first thread, and no other, has the monitor's.
func TestTheMonitorHasItsOwnSlack(t *testing.T) {
	if n := monitorHas(); n != MonitorNanoseconds {
		t.Errorf("the monitor was started with %d ns, want %d", n, MonitorNanoseconds)
	}
}
