package rtcpool

import (
	"testing"
	"time"

	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool/internal/offer"
)

func TestS10_CutKeepsOutWhatIsOfTheOwnerBefore(t *testing.T) {
	type step struct {
		seq  uint16
		at   time.Duration // after the answer; negative: before it
		out  bool
		over bool
	}
	for name, steps := range map[string][]step{
		"before the answer": {
			{seq: 65530, at: -1, out: true}, {seq: 65535, at: -1, out: true}, {seq: 3, at: -1, out: true}, {seq: 2, at: -1, out: true},
		},
		"continued": {
			{seq: 65531, at: 0, out: true}, {seq: 0, at: settling, out: true}, {seq: 1, at: settling + 1}, {seq: 0, at: settling + 2, out: true},
			{seq: 2, at: settling + 3}, {seq: 65500, at: time.Second, out: true},
		},
		"leap": {
			{seq: 65532, at: 0, out: true}, {seq: 5000, at: 1}, {seq: 65533, at: 2, out: true}, {seq: 5001, at: 3},
		},
		"over": {
			{seq: 65531, at: settling + lateness, out: false}, {seq: 65500, at: settling + lateness + 1, over: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCut(65530)
			const answered = time.Minute
			for i, s := range steps {
				if s.at >= 0 {
					c.answered(answered) // the second time says nothing new
				}
				out, over := c.keepsOut(s.seq, answered+s.at)
				if out != s.out || over != s.over {
					t.Errorf("step %d: %d at %v: out %v, over %v", i, s.seq, s.at, out, over)
				}
			}
		})
	}
}

func TestReaderForgetsACutThatIsOver(t *testing.T) {
	r := &reader{}
	if r.keepsOut(1, time.Second) {
		t.Error("kept out without a cut")
	}
	r.cut.Store(newCut(5))
	const now = time.Minute
	r.cut.Load().answered(now)
	if !r.keepsOut(5, now) || r.keepsOut(5, now+settling+lateness+time.Second) || r.cut.Load() != nil {
		t.Errorf("cut %+v", r.cut.Load())
	}
}

// TestS11_WhichNamesAreOfOneTrack tells new names of a source's track from those of another track.
func TestS11_WhichNamesAreOfOneTrack(t *testing.T) {
	type msid struct{ stream, track string }
	for name, c := range map[string]struct {
		was, is msid
		same    bool
	}{
		"the same":             {msid{"s", "t"}, msid{"s", "t"}, true},
		"another stream":       {msid{"s", "t"}, msid{"x", "t"}, true},
		"another track":        {msid{"s", "t"}, msid{"s", "x"}, false},
		"both are others":      {msid{"s", "t"}, msid{"x", "y"}, false},
		"identified":           {msid{"", ""}, msid{"s", "t"}, true},
		"no longer identified": {msid{"s", "t"}, msid{"", ""}, true},
		"stream only, another": {msid{"s", ""}, msid{"x", ""}, false},
		"a track id is added":  {msid{"s", ""}, msid{"s", "t"}, true},
		"a stream is added":    {msid{"", "t"}, msid{"s", "t"}, true},
	} {
		e := &entry{facts: offer.Section{Kind: media.KindVideo, Sending: true, StreamID: c.was.stream, TrackID: c.was.track, SSRCs: []uint32{7}}}
		f := offer.Section{Kind: media.KindVideo, Sending: true, StreamID: c.is.stream, TrackID: c.is.track, SSRCs: []uint32{7}}
		if got := e.goesOn(&f); got != c.same {
			t.Errorf("%s: %v", name, got)
		}
		f.SSRCs = []uint32{8}
		if got := e.goesOn(&f); got != (c.was == c.is) {
			t.Errorf("%s, on another source: %v", name, got)
		}
		f.Sending = false
		if !e.goesOn(&f) {
			t.Errorf("%s: a pause ends it", name)
		}
	}
}
