package sparing

import (
	"sync"
	"testing"
	"time"
)

// TestO2_FaultsOfPacketsAreLoggedOnceASecond lets 1000 packets a second fail for three seconds, and one other thing once.
func TestO2_FaultsOfPacketsAreLoggedOnceASecond(t *testing.T) {
	var l Log
	now := time.Unix(1_000, 0)
	var told []int
	for i := range 3001 {
		if leftOut, ok := l.Admit("packet", now); ok {
			told = append(told, leftOut)
		}
		if i == 1500 {
			if leftOut, ok := l.Admit("other", now); !ok || leftOut != 0 {
				t.Errorf("another kind is left out: %d, %v", leftOut, ok)
			}
		}
		now = now.Add(time.Millisecond)
	}
	if len(told) != 4 || told[0] != 0 || told[1] != 999 || told[2] != 999 || told[3] != 999 {
		t.Errorf("logged with %v left out, want 0, 999, 999, 999", told)
	}
}

// TestFaultsAtOneTime counts each fault once, whoever notes it.
func TestFaultsAtOneTime(t *testing.T) {
	var l Log
	now := time.Unix(1_000, 0)
	var work sync.WaitGroup
	var mu sync.Mutex
	admitted := 0
	for range 8 {
		work.Go(func() {
			for range 100 {
				if _, ok := l.Admit("packet", now); ok {
					mu.Lock()
					admitted++
					mu.Unlock()
				}
			}
		})
	}
	work.Wait()
	if leftOut, ok := l.Admit("packet", now.Add(Interval)); !ok || leftOut != 799 || admitted != 1 {
		t.Errorf("%d were logged, then one with %d left out", admitted, leftOut)
	}
}
