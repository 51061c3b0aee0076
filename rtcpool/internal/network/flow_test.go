package network

import (
	"testing"
	"time"
)

func TestFlow(t *testing.T) {
	start := time.Unix(1000, 0)
	var f flow
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	for ms := 0; ms <= 1000; ms += 20 { // 50 a second
		if f.note(100, at(ms)); f.dense {
			t.Fatalf("thin after %d ms", ms)
		}
	}
	for ms := 1000; ms <= 1300; ms += 4 { // 250 a second
		f.note(100, at(ms))
	}
	if !f.dense {
		t.Fatal("250 small packets a second are not dense")
	}
	for range emptyTicks - 1 {
		f.looked(false)
	}
	if f.looked(true); !f.dense {
		t.Fatal("some empty ticks end it")
	}
	for range emptyTicks {
		f.looked(false)
	}
	if f.dense {
		t.Fatal("it is dense though nothing comes")
	}
	for ms := 2000; ms <= 2300; ms += 4 {
		f.note(100, at(ms))
	}
	if f.note(smallPacket+1, at(2301)); f.dense {
		t.Error("a large packet does not end it")
	}
	for ms := 3000; ms <= 4000; ms++ {
		if f.note(1200, at(ms)); f.dense {
			t.Fatal("video is read in a cadence")
		}
	}
}

func TestUntilTick(t *testing.T) {
	for ns, want := range map[int64]time.Duration{0: tick, 1: tick - 1, int64(tick) - 1: 1, 7 * int64(tick): tick} {
		if got := untilTick(time.Unix(0, ns)); got != want {
			t.Errorf("%d ns: %v, want %v", ns, got, want)
		}
	}
}
