package media

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// simulcast feeds the layers of carol's camera into a track, picture by picture, the largest first, as SDP often names them. What each
// would be asked for by RTCP it does when it is told to.
type simulcast struct {
	t       *testing.T
	track   *Track
	layers  []*Layer
	feeders []*feeder // by layer
	asked   []atomic.Int64
	silent  []bool
}

func newSimulcast(t *testing.T) *simulcast {
	t.Helper()
	return newSimulcastOf(t, newTestTrack(t, KindVideo))
}

// newSimulcastOf is the same with a track that is there.
func newSimulcastOf(t *testing.T, track *Track) *simulcast {
	t.Helper()
	s := &simulcast{t: t, track: track, asked: make([]atomic.Int64, 3), silent: make([]bool, 3)}
	all, began := clips.CarolLayers(), time.Now()
	slices.Reverse(all)
	for i, clip := range all {
		l := s.track.AddLayer(clip.Name, func() { s.asked[i].Add(1) })
		if l == nil {
			t.Fatal("no layer")
		}
		f := newFeeder(t, s.track, clip, uint32(100+i))
		f.layer, f.now = l, began
		f.packetizer.SkipSamples(uint32(i) * 1_000_003) // each has an RTP clock of its own
		s.layers, s.feeders = append(s.layers, l), append(s.feeders, f)
	}
	return s
}

// The layers by their place.
const (
	large = iota
	middle
	small
)

// feed sends pictures of all layers that are not silent.
func (s *simulcast) feed(n int) {
	s.t.Helper()
	for range n {
		for i, f := range s.feeders {
			if s.silent[i] {
				f.now = f.now.Add(f.units[0].Duration)
				f.packetizer.SkipSamples(f.ticks(f.units[0]))
				continue
			}
			f.feed()
		}
	}
}

// key makes a layer's next picture a key frame.
func (s *simulcast) key(layer int) { s.feeders[layer].next = 0 }

// chosen checks which layer is the chosen one.
func (s *simulcast) chosen(want int, when string) {
	s.t.Helper()
	for i, l := range s.layers {
		if l.Chosen() != (i == want) {
			s.t.Errorf("%s: layer %d is chosen: %v", when, i, l.Chosen())
		}
	}
}

// wanted waits until a key frame of a layer was asked for.
func (s *simulcast) wanted(layer int) {
	s.t.Helper()
	limit := time.Now().Add(hang)
	for s.asked[layer].Load() == 0 {
		if time.Now().After(limit) {
			s.t.Fatalf("no key frame of layer %d was asked for", layer)
		}
		time.Sleep(time.Millisecond) // nothing tells
	}
}

func (s *simulcast) subscribe(width int) *Consumer {
	s.t.Helper()
	c, err := s.track.Subscribe(Request{Video: &VideoFormat{Width: width}, Queue: patient})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// viewer reads pictures. Time goes on from picture to picture.
type viewer struct {
	t    *testing.T
	c    *Consumer
	last time.Duration
}

// next returns of which layer the next picture is, and where it lies.
func (v *viewer) next() (layer int, at time.Duration) {
	v.t.Helper()
	for {
		item, err := next(v.t, v.c)
		if err != nil {
			v.t.Fatal(err)
		}
		f := item.Frame
		if f == nil {
			continue
		}
		defer f.Payload.Release()
		if f.Time <= v.last && v.last != 0 {
			v.t.Fatalf("%v follows %v", f.Time, v.last)
		}
		v.last = f.Time
		return slices.Index([]int{84, 42, 21}, watermark(v.t, f)), f.Time
	}
}

// sees checks that the next pictures are of a layer.
func (v *viewer) sees(n, layer int, when string) {
	v.t.Helper()
	for i := range n {
		if got, _ := v.next(); got != layer {
			v.t.Fatalf("%s: picture %d of %d is of layer %d, want %d", when, i, n, got, layer)
		}
	}
}

// TestF20_TheLayerFitsTheLargestConsumer lets consumers of several sizes come and go: the smallest layer that is enough for all is decoded,
// no other, and each takes over with a key frame that was asked for.
func TestF20_TheLayerFitsTheLargestConsumer(t *testing.T) {
	noCMemory(t)
	s := newSimulcast(t)
	s.feed(10)
	if n := s.track.Stats().Decoded; n != 0 {
		t.Errorf("%d pictures were decoded for nobody", n)
	}
	first := &viewer{t: t, c: s.subscribe(160)}
	s.chosen(small, "a small consumer alone")
	s.wanted(small)
	s.key(small)
	s.feed(5)
	first.sees(5, small, "a small consumer alone")

	second := &viewer{t: t, c: s.subscribe(320)}
	s.wanted(middle)
	s.feed(5)
	first.sees(5, small, "before the key frame")
	s.chosen(small, "before the key frame")
	s.key(middle)
	s.feed(5)
	first.sees(5, middle, "with a consumer of middle size")
	for layer := small; layer != middle; layer, _ = second.next() {
	}
	third := &viewer{t: t, c: s.subscribe(0)}
	s.wanted(large)
	s.key(large)
	s.feed(5)
	first.sees(5, large, "with a consumer without limit")
	for layer := small; layer != large; layer, _ = third.next() { // the first is what the others saw last
	}

	s.asked[small].Store(0)
	third.c.Close()
	second.c.Close()
	s.wanted(small)
	s.feed(3)
	first.sees(3, large, "the others have left, before the key frame")
	s.key(small)
	s.feed(5)
	first.sees(1, large, "this picture of the large layer came first")
	first.sees(4, small, "the others have left")
	if st := s.track.Stats(); st.Decoded != 29 || st.DecodeErrors != 0 || st.UnitsDropped != 0 {
		t.Errorf("%d pictures were decoded of 29, %d not, %d dropped", st.Decoded, st.DecodeErrors, st.UnitsDropped)
	}
	for i, l := range s.track.Layers() {
		if clip := clips.CarolLayers()[2-i]; l.Width != clip.Width || l.Height != clip.Height || l.SSRC != uint32(100+i) || l.Chosen != (i == small) {
			t.Errorf("layer %d is %+v", i, l)
		}
	}
}

// TestF20_ALayerThatStopsIsReplaced lets layers stop and come back: the next smaller that sends takes over, and the larger one again.
func TestF20_ALayerThatStopsIsReplaced(t *testing.T) {
	noCMemory(t)
	s := newSimulcast(t)
	v := &viewer{t: t, c: s.subscribe(0)}
	s.feed(1)
	if layer, _ := v.next(); layer != large {
		t.Fatalf("the first picture is of layer %d", layer)
	}
	for _, step := range []struct{ silent, next int }{{large, middle}, {middle, small}} {
		s.silent[step.silent] = true
		s.asked[step.next].Store(0)
		for _, f := range s.feeders {
			f.next = 1 // the next key frame is two seconds away
		}
		s.feed(15) // a second: it may be a slow one
		s.chosen(step.silent, "silent for a second")
		s.feed(5)
		s.wanted(step.next)
		s.chosen(step.silent, "before the key frame")
		s.key(step.next)
		s.feed(5)
		v.sees(5, step.next, "the larger has stopped")
	}
	s.silent[large], s.asked[large] = false, atomic.Int64{}
	s.feed(5)
	s.wanted(large)
	s.key(large)
	s.feed(5)
	v.sees(5, small, "before the key frame of the larger that came back")
	v.sees(5, large, "the larger has come back")
	s.layers[large].End()
	s.layers[large].End()
	s.key(small)
	s.feed(5)
	v.sees(5, small, "the larger was taken out")
}

// TestF20_TimeGoesOnAcrossLayers switches to and fro between layers whose RTP clocks begin elsewhere and of which one arrives late: by sender reports
// the pictures lie where they were captured; without, where they arrive.
func TestF20_TimeGoesOnAcrossLayers(t *testing.T) {
	for name, reports := range map[string]bool{"sender reports": true, "arrival": false} {
		t.Run(name, func(t *testing.T) {
			s := newSimulcast(t)
			const late = 40 * time.Millisecond
			s.feeders[large].now = s.feeders[large].now.Add(late)
			if reports {
				for i, l := range s.layers {
					l.WriteSenderReport(3913056000<<32, s.stamp(i))
				}
			}
			s.silent[large] = true // who is late does not begin
			s.feed(1)
			s.silent[large] = false
			v, n := &viewer{t: t, c: s.subscribe(160)}, 1
			show := func(layer, want int) {
				t.Helper()
				s.key(layer)
				for i := range want {
					s.feed(1)
					n++
					got, at := v.next()
					if i == 0 && got < layer { // the large layer's packets of this picture came first
						got = layer
					}
					drift := at - time.Duration(n-1)*time.Second/15
					if limit := 2 * time.Millisecond; got != layer || reports && drift.Abs() > limit || drift < -limit || drift > late+limit {
						t.Fatalf("picture %d is of layer %d, %v off", n, got, drift)
					}
				}
			}
			show(small, 8)
			for range 3 {
				more := s.subscribe(0)
				show(large, 8)
				more.Close()
				show(small, 8)
			}
		})
	}
}

// stamp is the RTP timestamp that a layer's next picture has.
func (s *simulcast) stamp(layer int) uint32 {
	s.t.Helper()
	p := s.feeders[layer].packetizer.Packetize([]byte{0}, 0)
	return p[0].Timestamp
}
