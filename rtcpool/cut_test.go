package rtcpool

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool/internal/offer"
)

func TestS10_CutKeepsOutWhatIsOfTheOwnerBefore(t *testing.T) {
	type step struct {
		seq   uint16
		at    time.Duration // after the answer; negative: before it
		comes bool          // it is not read yet
		out   bool
		over  bool
	}
	const passed = settling + 1
	for name, steps := range map[string][]step{
		"before the answer": {
			{seq: 65530, at: -1, out: true}, {seq: 65535, at: -1, out: true}, {seq: 3, at: -1, out: true}, {seq: 2, at: -1, out: true},
		},
		"continued": {
			{seq: 65531, at: 0, out: true}, {seq: 0, at: settling, out: true}, {seq: 1, at: passed}, {seq: 0, at: settling + 2, out: true},
			{seq: 2, at: settling + 3}, {seq: 65500, at: time.Second, out: true},
		},
		"leap": {
			{seq: 65532, at: 0, out: true}, {seq: 5000, at: 1}, {seq: 65533, at: 2, out: true}, {seq: 5001, at: 3},
		},
		"over": {
			{seq: 65531, at: passed}, {seq: 65500, at: passed + lateness, out: true}, {seq: 65500, at: passed + lateness + 1, over: true},
		},
		"a next owner that is silent at first": {
			{seq: 65500, at: time.Hour, out: true}, {seq: 65531, at: time.Hour + 1}, {seq: 65500, at: time.Hour + 2, out: true},
		},
		"read late": {
			{seq: 65531, at: -1, comes: true}, {seq: 2, at: settling, comes: true}, {seq: 1, at: settling, comes: true}, {seq: 3, at: passed, comes: true},
			{seq: 65531, at: time.Minute, out: true}, {seq: 2, at: time.Minute, out: true}, {seq: 3, at: time.Minute}, {seq: 1, at: time.Minute + 1, out: true},
		},
		"read late, and leaps": {
			{seq: 1, at: settling, comes: true}, {seq: 5000, at: settling, comes: true},
			{seq: 1, at: time.Minute, out: true}, {seq: 5000, at: time.Minute}, {seq: 5001, at: time.Minute},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCut(65530)
			const answered = time.Minute
			for i, s := range steps {
				if s.at >= 0 {
					c.answered(answered) // the second time says nothing new
				}
				if s.comes {
					c.arrived(s.seq, answered+s.at)
					continue
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
	s := &Session{wake: make(chan struct{}, 1)}
	r := &reader{peer: &peer{session: s}}
	if r.keepsOut(1, time.Second) {
		t.Error("kept out without a cut")
	}
	r.cut.Store(newCut(5))
	const now, far = time.Minute, time.Hour
	r.cut.Load().answered(now)
	if !r.keepsOut(5, now) || r.keepsOut(6, far) || !r.keepsOut(5, far) || r.keepsOut(5, far+lateness+1) || r.cut.Load() != nil {
		t.Errorf("cut %+v", r.cut.Load())
	}
	if len(s.wake) != 1 {
		t.Error("the session is not told")
	}
}

// TestS10_ReaderThatStandsStillDeliversNothingOfTheOwnerBefore holds a reader while its source passes to another owner: what came before
// the offer, and what came before things had settled, is read long after, and reaches neither owner's media.
func TestS10_ReaderThatStandsStillDeliversNothingOfTheOwnerBefore(t *testing.T) {
	t.Run("before the offer", func(t *testing.T) { readsLate(t, 0) })
	t.Run("before things had settled", func(t *testing.T) { readsLate(t, 10) })
}

// readsLate lets late packets of the owner before come after the answer.
func readsLate(t *testing.T, late int) {
	s, seen := open(t, newTestPool(t, nil), "s")
	f := newTestSFU(t)
	source := f.addQuiet(vp8, "cam", "alice")
	f.negotiate(s, 0)
	sent := uint16(65500) // the numbers wrap
	write := func(packets int) {
		t.Helper()
		for range packets {
			sent++
			if err := source.write(sent); err != nil {
				t.Fatal(err)
			}
		}
	}
	old := seen.byTrack(t, "cam")
	waitFor(t, "the first packet", func() bool { write(1); return old.Track.Stats().Packets > 0 })
	old = seen.flowing(t, "cam")
	p := current(t, s)
	came := func() {
		t.Helper()
		waitFor(t, "packets that nobody reads", func() bool { last, ok := p.strays.inlets.highest(old.SSRC); return ok && last == sent })
	}
	came()
	readers := make(chan *reader, 1)
	if _, err := s.do(t.Context(), func() { readers <- p.readers[0] }); err != nil {
		t.Fatal(err)
	}
	r := <-readers
	held := r.sink.Load()
	held.writing.Lock() // the reader takes one more packet, and stands still
	before := old.Track.Stats().Packets
	write(20)
	came()
	f.exchange(s, 0, strings.ReplaceAll(f.offer(nil), "alice cam", "bob screen"))
	c := r.cut.Load()
	if c == nil {
		held.writing.Unlock()
		t.Fatal("the source is not cut")
	}
	c.until.Store(int64(p.feedback.now() + time.Hour))
	write(late)
	came()
	c.until.Store(int64(p.feedback.now())) // things have settled
	write(20)
	came()
	held.writing.Unlock()
	next := seen.flowing(t, "screen")
	waitFor(t, "the next owner's packets", func() bool { return next.Track.Stats().Packets >= 20 })
	if n, more := next.Track.Stats().Packets, old.Track.Stats().Packets-before; n != 20 || more > 1 {
		t.Errorf("%d packets of the next owner, want 20; %d more of the one before", n, more)
	}
	waitFor(t, "the end of the cut", func() bool {
		c.passed.Store(int64(p.feedback.now() - lateness - 1))
		write(1)
		return r.cut.Load() == nil && !p.net.Watching()
	})
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
