package media

import (
	"runtime"
	"testing"
	"time"
)

// collectUntil collects garbage until done says so; cleanups run in a goroutine of the runtime's.
func collectUntil(t testing.TB, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("nothing was given back")
		}
		runtime.GC()
	}
}
