package media

import (
	"testing"
	"time"
)

func TestClockF8FollowsTheRTPClockThroughItsWrap(t *testing.T) {
	c := mediaClock{}
	now := time.Unix(1_700_000_000, 0)
	start := uint32(0xffffffff - 3*90000)
	for i := range 10 {
		at := c.at(start+uint32(i)*90000, 90000, now.Add(time.Duration(i)*time.Second))
		if want := time.Duration(i) * time.Second; at != want {
			t.Fatalf("second %d lies at %v", i, at)
		}
	}
}

func TestClockF8IsExactAfterHours(t *testing.T) {
	c := mediaClock{}
	now := time.Unix(1_700_000_000, 0)
	const packets = 26 * 3600 * 50 // 26 h of 20 ms: over the 32-bit wrap at 48 kHz
	var at time.Duration
	for i := range packets {
		at = c.at(uint32(i)*960, 48000, now.Add(time.Duration(i)*20*time.Millisecond))
	}
	if want := (packets - 1) * 20 * time.Millisecond; at != want {
		t.Fatalf("the last packet lies at %v, want %v", at, want)
	}
}

func TestClockF8NeverGoesBack(t *testing.T) {
	c := mediaClock{}
	now := time.Unix(1_700_000_000, 0)
	steps := []struct {
		name      string
		timestamp uint32
		change    bool
		after     time.Duration // since the step before
		want      time.Duration
	}{
		{"first", 1000, false, 0, 0},
		{"regular", 1000 + 9000, false, 100 * time.Millisecond, 100 * time.Millisecond},
		{"older timestamp", 1000 + 4500, false, time.Millisecond, 100 * time.Millisecond},
		{"other source: by arrival", 4_000_000_000, true, 500 * time.Millisecond, 600 * time.Millisecond},
		{"other source goes on", 4_000_000_000 + 9000, false, 100 * time.Millisecond, 700 * time.Millisecond},
		{"muted for a minute, clock ran on", 4_000_000_000 + 9000 + 60*90000, false, time.Minute, 60700 * time.Millisecond},
		{"muted for a minute, clock stood still", 4_000_000_000 + 18000 + 60*90000, false, time.Minute, 120700 * time.Millisecond},
		{"jumped ahead an hour within 20 ms", 1234, false, 20 * time.Millisecond, 120720 * time.Millisecond},
	}
	for _, s := range steps {
		now = now.Add(s.after)
		if s.change {
			c.sourceChanged()
		}
		if got := c.at(s.timestamp, 90000, now); got != s.want {
			t.Errorf("%s: %v, want %v", s.name, got, s.want)
		}
	}
}

func TestClockMapsToTheSendersWallClock(t *testing.T) {
	c := mediaClock{}
	c.at(5000, 48000, time.Now())
	if got := c.captured(5000); !got.IsZero() {
		t.Fatalf("captured %v before any report", got)
	}
	// RFC 5905's own example of the era: 2024-01-01 is 3913056000 s after 1900.
	c.report(senderReport{ntpTime(3913056000<<32 | 1<<31), 5000})
	want := time.Date(2024, 1, 1, 0, 0, 1, 500_000_000, time.UTC)
	if got := c.captured(5000 + 48000); !got.Equal(want) {
		t.Errorf("captured %v, want %v", got.UTC(), want)
	}
	reported := uint32(5000)
	before := c.captured(reported - 48000) // a packet from before the report
	if want := want.Add(-2 * time.Second); !before.Equal(want) {
		t.Errorf("captured %v, want %v", before.UTC(), want)
	}
}

func TestPacerF3KeepsEvenSpacing(t *testing.T) {
	for _, tc := range []struct {
		in, max  float64
		seconds  int
		want     int
		smallest int // pictures between two that pass
		largest  int
	}{
		{30, 10, 10, 100, 3, 3},
		{30, 30, 10, 300, 1, 1},
		{30, 0, 10, 300, 1, 1},
		{30, 1, 10, 10, 30, 30},
		{25, 10, 10, 100, 2, 3},
		{30, 20, 10, 200, 1, 2},
		{10, 30, 10, 100, 1, 1},
	} {
		p := newPacer(tc.max)
		passed, last, lo, hi := 0, -1, 1<<30, 0
		for i := range int(tc.in) * tc.seconds {
			if !p.pass(time.Duration(float64(i) / tc.in * float64(time.Second))) {
				continue
			}
			passed++
			if last >= 0 {
				lo, hi = min(lo, i-last), max(hi, i-last)
			}
			last = i
		}
		if passed != tc.want || lo < tc.smallest || hi > tc.largest {
			t.Errorf("%v fps to %v: %d passed, %d to %d apart; want %d, %d to %d", tc.in, tc.max, passed, lo, hi, tc.want, tc.smallest, tc.largest)
		}
	}
}

func TestPacerDoesNotCatchUpAfterAPause(t *testing.T) {
	p := newPacer(10)
	p.pass(0)
	if !p.pass(time.Minute) {
		t.Fatal("the first picture after a pause must pass")
	}
	if p.pass(time.Minute + 33*time.Millisecond) {
		t.Fatal("a picture 33 ms later must not")
	}
}
