package rtcpool

import (
	"testing"
	"time"

	"github.com/penstock-media/penstock/media"
	"github.com/pion/sdp/v3"
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
			answered := time.Now()
			for i, s := range steps {
				if s.at >= 0 {
					c.answered(answered) // the second time says nothing new
				}
				out, over := c.keepsOut(s.seq, answered.Add(s.at))
				if out != s.out || over != s.over {
					t.Errorf("step %d: %d at %v: out %v, over %v", i, s.seq, s.at, out, over)
				}
			}
		})
	}
}

func TestReaderForgetsACutThatIsOver(t *testing.T) {
	r := &reader{}
	if r.keepsOut(1, time.Now()) {
		t.Error("kept out without a cut")
	}
	r.cut.Store(newCut(5))
	now := time.Now()
	r.cut.Load().answered(now)
	if !r.keepsOut(5, now) || r.keepsOut(5, now.Add(settling+lateness+time.Second)) || r.cut.Load() != nil {
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
		e := &entry{facts: section{kind: media.KindVideo, sending: true, streamID: c.was.stream, trackID: c.was.track, ssrcs: []uint32{7}}}
		f := section{kind: media.KindVideo, sending: true, streamID: c.is.stream, trackID: c.is.track, ssrcs: []uint32{7}}
		if got := e.goesOn(&f); got != c.same {
			t.Errorf("%s: %v", name, got)
		}
		f.ssrcs = []uint32{8}
		if got := e.goesOn(&f); got != (c.was == c.is) {
			t.Errorf("%s, on another source: %v", name, got)
		}
		f.sending = false
		if !e.goesOn(&f) {
			t.Errorf("%s: a pause ends it", name)
		}
	}
}

// TestPausesAreKeptFromPion looks at what pion is told of a pause, and at the answer.
func TestPausesAreKeptFromPion(t *testing.T) {
	const sources = "a=ssrc-group:FID 11 12\r\na=ssrc:11 cname:x\r\na=ssrc:12 cname:x\r\n"
	attributes := func(o *offer, key string) (out []string) {
		for _, m := range o.desc.MediaDescriptions {
			for _, a := range m.Attributes {
				if a.Key == key {
					out = append(out, a.Value)
				}
			}
		}
		return out
	}
	parse := func(section string) *offer {
		t.Helper()
		o, err := parseOffer(offerOf(section), defaultMaxSDPBytes)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	p := &peer{}
	first := parse(videoSection + sources)
	p.keepPauses(first)
	p.noteSources(first)
	for range 3 { // it is remembered from pause to pause
		o := parse(videoSection + "a=inactive\r\n")
		p.keepPauses(o)
		if got := attributes(o, sdp.AttrKeySSRC); len(got) != 2 || len(attributes(o, sdp.AttrKeySSRCGroup)) != 1 || len(attributes(o, directionInactive)) != 0 ||
			len(attributes(o, "sendonly")) != 1 {
			t.Errorf("pion is told %q, inactive %d", got, len(attributes(o, directionInactive)))
		}
		if _, declared := o.sources.declared[11]; !declared || len(o.sources.declared) != 2 {
			t.Errorf("declared: %v", o.sources.declared)
		}
		p.noteSources(o)
	}
	for line, want := range map[string]int{"a=ssrc:11 cname:x": 1, "a=ssrc-group:FID 1 2": 2, "a=ssrc-group:": 0, "a=ssrc:x y": 0} {
		var a sdp.Attribute
		a.Key, a.Value = line[2:6], line[7:]
		if line[6] == '-' {
			a.Key, a.Value = sdp.AttrKeySSRCGroup, line[len("a=ssrc-group:"):]
		}
		if got := sourcesOf(a); len(got) != want {
			t.Errorf("%s names %v", line, got)
		}
	}
}
