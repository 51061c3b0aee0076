package media

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// wantEven checks that times lie as near to an even grid as what they are picked from allows.
func wantEven(t *testing.T, what string, picked []time.Duration, fps float64, spacing, length time.Duration) {
	t.Helper()
	interval := time.Duration(float64(time.Second) / fps)
	if want := int(length/interval) + 1; len(picked) < want-1 || len(picked) > want {
		t.Errorf("%s: %d pictures in %v, want %d", what, len(picked), length, want)
	}
	for i, at := range picked {
		if d := (at - picked[0] - time.Duration(i)*interval).Abs(); d > spacing/2+time.Microsecond {
			t.Fatalf("%s: picture %d lies at %v, %v beside the grid", what, i, at-picked[0], d)
		}
	}
}

// Pictures are picked evenly from 30, 24 and 25 fps, down to rates that do not divide them.
func TestF3_MaxFPSKeepsEvenSpacing(t *testing.T) {
	for _, c := range []struct{ in, out float64 }{{30, 10}, {30, 7}, {30, 29}, {24, 10}, {25, 12.5}, {30, 1}, {30, 0.5}, {60, 24}} {
		p := newPacer(c.out)
		spacing := time.Duration(float64(time.Second) / c.in)
		var picked []time.Duration
		const length = 20 * time.Second
		for at := time.Duration(0); at <= length; at += spacing {
			if p.pass(at) {
				picked = append(picked, at)
			}
		}
		wantEven(t, fmt.Sprint(c.in, " to ", c.out), picked, c.out, spacing, length)
	}
	p := newPacer(40) // more than there are
	for at := time.Duration(0); at < time.Second; at += time.Second / 30 {
		if !p.pass(at) {
			t.Fatalf("30 to 40: the picture at %v is left out", at)
		}
	}
}

// A sender whose rate varies, as those of screens do, is thinned as evenly as it can be: never two pictures nearer than the interval, but for one
// spacing, and none missing that was due.
func TestF3_MaxFPSOfAVariableRate(t *testing.T) {
	p := newPacer(10)
	var picked []time.Duration
	at := time.Duration(0)
	for i := range 600 {
		at += time.Duration(15+10*math.Sin(float64(i)/20)) * time.Millisecond * 2 // 10 to 50 ms
		if p.pass(at) {
			picked = append(picked, at)
		}
	}
	for i := 1; i < len(picked); i++ {
		if d := picked[i] - picked[i-1]; d < 50*time.Millisecond || d > 150*time.Millisecond {
			t.Errorf("%v between pictures %d and %d", d, i-1, i)
		}
	}
	if n := float64(len(picked)) / at.Seconds(); n < 9.8 || n > 10.1 {
		t.Errorf("%.2f pictures a second", n)
	}
	for range 5 { // A still screen, then it moves again: what was not sent is not caught up with.
		at += 3 * time.Second
		if !p.pass(at) || p.pass(at+30*time.Millisecond) {
			t.Error("after a pause the first picture, and it alone, is due")
		}
	}
}

// The spacing follows presentation times: pictures that arrive in bursts are picked as if they came one by one.
func TestF3_SpacingFollowsPresentationNotArrival(t *testing.T) {
	track := newTestTrack(t, KindVideo)
	c := subscribe(t, track, Request{Video: &VideoFormat{MaxFPS: 10, Width: 64}, Queue: patient})
	f := newFeeder(t, track, clips.BobCamera(), 7)
	const n = 90
	for i := range n {
		if i%15 == 0 {
			f.now = f.now.Add(time.Second / 2)
		}
		now := f.now
		f.feed()
		f.now = now
	}
	var picked []time.Duration
	for range n / 3 {
		picked = append(picked, frame(t, c).Time)
	}
	wantEven(t, "bursts", picked, 10, time.Second/30, (n-1)*time.Second/30)
}

// Five consumers of one track with other formats, rates and sizes cost one decode a picture; those of one format share its conversion, whatever
// their rates are.
func TestF3_OneDecodeForAllConsumers(t *testing.T) {
	noCMemory(t)
	track := newTestTrack(t, KindVideo)
	full := subscribe(t, track, Request{Queue: patient})
	small := subscribe(t, track, Request{Video: &VideoFormat{Pixel: RGB24, Width: 320, Height: 180}, Queue: patient})
	same := subscribe(t, track, Request{Video: &VideoFormat{Pixel: RGB24, Width: 320, Height: 180}, Queue: patient})
	slower := subscribe(t, track, Request{Video: &VideoFormat{Pixel: RGB24, Width: 320, Height: 180, MaxFPS: 15}, Queue: patient})
	slow := subscribe(t, track, Request{Video: &VideoFormat{Pixel: JPEG, MaxFPS: 10}, Queue: patient})
	f := newFeeder(t, track, clips.AliceCamera(), 7)
	const n = 30
	for i := range n {
		f.feed()
		want := frame(t, full)
		a, b := frame(t, small), frame(t, same)
		if a.Payload.Len() != 320*180*3 || a.Payload != b.Payload || a.Time != want.Time || b.Time != want.Time {
			t.Fatal("two consumers of one format must share one conversion")
		}
		if i%2 == 0 {
			if got := frame(t, slower); got.Payload != a.Payload {
				t.Fatal("another rate is no other format")
			}
		}
	}
	for range n / 3 {
		frame(t, slow)
	}
	if waiting(slower) != 0 || waiting(slow) != 0 {
		t.Errorf("%d and %d pictures too many", waiting(slower), waiting(slow))
	}
	if s := track.Stats(); s.Decoded != n || s.Converted != n+n+n/3 {
		t.Errorf("%d decodes and %d conversions, want %d and %d", s.Decoded, s.Converted, n, n+n+n/3)
	}
}

// Where only a few pictures a second are asked for, units to which nothing refers are not decoded. Of the clip every third is referred to.
func TestF3_FewPicturesNeedFewDecodes(t *testing.T) {
	noCMemory(t)
	track := newTestTrack(t, KindVideo)
	few := subscribe(t, track, Request{Video: &VideoFormat{MaxFPS: 5}, Queue: patient})
	f := newFeeder(t, track, clips.BobCamera(), 7)
	f.units = nil
	for i, u := range clipUnits(t, "h264-layers.h264") {
		f.units = append(f.units, clips.Unit{Data: u, Duration: time.Second / 30, KeyFrame: i == 0})
	}
	feed := func(rounds int) {
		for range rounds * len(f.units) {
			f.feed()
		}
		decodeAll(t, track)
	}
	feed(4) // so that the rates are known
	track.mu.Lock()
	refer := 0
	for _, u := range track.video.run {
		if !u.discardable {
			refer++
		}
	}
	units := len(track.video.run)
	track.mu.Unlock()
	before := track.Stats()
	const rounds = 12
	feed(rounds)
	after := track.Stats()
	if got := int(after.Decoded - before.Decoded); units != len(f.units) || got != rounds*refer || int(after.UnitsSkipped-before.UnitsSkipped) != rounds*(units-refer) {
		t.Errorf("%d decodes of %d units, %d of which are referred to", got, rounds*units, rounds*refer)
	}
	last := time.Duration(-1)
	for waiting(few) > 0 {
		if got := frame(t, few); last >= 0 && (got.Time-last < 100*time.Millisecond || got.Time-last > 300*time.Millisecond) {
			t.Errorf("%v between two pictures", got.Time-last)
		} else {
			last = got.Time
		}
	}
	all := subscribe(t, track, Request{Queue: patient}) // who wants all gets all from now on
	decodeAll(t, track)
	before = track.Stats()
	had := waiting(all)
	feed(2)
	if s := track.Stats(); int(s.Decoded-before.Decoded) != 2*units || waiting(all)-had != 2*units || s.DecodeErrors != 0 || s.UnitsDropped != 0 {
		t.Errorf("%d decodes and %d pictures of %d, %+v", s.Decoded-before.Decoded, waiting(all)-had, 2*units, s)
	}
}

// decodeAll waits until the only decode worker has done what is queued.
func decodeAll(t *testing.T, track *Track) {
	t.Helper()
	for empty := false; ; {
		served := make(chan struct{})
		track.cfg.Pool.schedule(&task{kind: KindVideo, step: func(*wakes) bool { close(served); return false }})
		within(t, served)
		if empty { // and the last one is done too
			return
		}
		track.mu.Lock()
		empty = len(track.video.queue) == 0 && len(track.video.joins) == 0
		track.mu.Unlock()
	}
}
