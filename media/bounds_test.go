package media

import (
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

func TestF12_AUnitThatNeverEndsIsBounded(t *testing.T) {
	var got assembled
	a := &assembler{emit: got.take}
	payload := append([]byte{0x10}, make([]byte, 60000)...)
	most := 0
	for i := range 400 { // 24 MB under one timestamp, without a marker
		a.push(&packet{seq: int64(i), timestamp: 1, codec: &vp8Params, payload: payload})
		most = max(most, len(a.cur.data))
	}
	if most > maxUnitBytes {
		t.Errorf("a unit grew to %d bytes", most)
	}
	a.push(&packet{seq: 400, timestamp: 2, marker: true, codec: &vp8Params, payload: append([]byte{0x10}, vp8Unit(100, true, 1)...)})
	if len(got.data) != 1 || !got.gaps[0] {
		t.Errorf("%d units, gaps %v; want the second alone, after a gap", len(got.data), got.gaps)
	}
}

// held returns a track of video whose only decode worker is busy until release is called.
func held(t *testing.T) (track *Track, release func()) {
	t.Helper()
	track = newTestTrack(t, KindVideo)
	begun, free := make(chan struct{}), make(chan struct{})
	track.cfg.Pool.schedule(&task{kind: KindVideo, step: func(*wakes) bool {
		close(begun)
		<-free
		return false
	}})
	<-begun
	release = sync.OnceFunc(func() { close(free) })
	t.Cleanup(release)
	return track, release
}

func TestTrackF12QueueOfKeyFramesIsBounded(t *testing.T) {
	track, release := held(t)
	subscribe(t, track, Request{})
	f := newFeeder(t, track, clips.AliceCamera(), 7)
	f.units = f.units[:1] // a key frame, again and again
	for range 5 * maxDecodeQueue {
		f.feed()
		track.mu.Lock()
		n := len(track.video.queue)
		track.mu.Unlock()
		if n > maxDecodeQueue {
			t.Fatalf("%d units wait for a worker", n)
		}
	}
	release()
}

func TestTrackF12RunOfAClockThatStandsStillIsBounded(t *testing.T) {
	track := newTestTrack(t, KindVideo)
	track.mu.Lock()
	defer track.mu.Unlock()
	for i := range 3 * maxRunUnits {
		u := newUnit()
		u.key = i == 0
		track.video.keep(u)
		u.release()
	}
	if n := len(track.video.run); n > maxRunUnits {
		t.Errorf("the run has %d units", n)
	}
}

func TestConsumerF12IsBoundedInFramesToo(t *testing.T) {
	track := newTestTrack(t, KindAudio)
	c := subscribe(t, track, Request{Encoded: true, Queue: patient})
	for range 2 * maxQueuedFrames {
		c.push(&Frame{Payload: newPayload(nil, []byte{1})})
	}
	if n := len(c.queue) - c.head; n > maxQueuedFrames {
		t.Errorf("%d frames are queued", n)
	}
}

func TestPacerOfAlmostNothing(t *testing.T) {
	p := newPacer(1e-12)
	if !p.pass(0) || p.pass(time.Second) || p.pass(time.Hour) {
		t.Error("a rate below one a year lets every picture pass")
	}
}

func TestF12_UpscalingIsBoundedWhereASideIsNotLimited(t *testing.T) {
	for _, v := range []struct{ w, h, boxW, boxH, wantW, wantH int }{
		{16, 16000, 8192, 0, 16, 16000},
		{100, 400, 8192, 0, 2048, 8192},
		{400, 100, 0, 8192, 8192, 2048},
		{640, 360, 1280, 0, 1280, 720},
	} {
		pl, err := planVideo(v.w, v.h, 0, VideoFormat{Pixel: JPEG, Width: v.boxW, Height: v.boxH, AllowUpscale: true})
		if err != nil || pl.width != v.wantW || pl.height != v.wantH {
			t.Errorf("%+v becomes %d×%d, %v", v, pl.width, pl.height, err)
		}
	}
}

func TestTrackF6EncodedOverflowAtAKeyFrameLeavesNothingBeforeIt(t *testing.T) {
	track := newTestTrack(t, KindVideo)
	c := subscribe(t, track, Request{Encoded: true, Queue: Queue{MaxDuration: time.Second}})
	unit := func(i int, key bool) {
		u := newUnit()
		u.codec, u.key, u.time, u.span = vp8Params, key, time.Duration(i)*200*time.Millisecond, 200*time.Millisecond
		track.mu.Lock()
		track.video.deliverEncoded(c, u, false)
		track.mu.Unlock()
		u.release()
	}
	for i := range 6 {
		unit(i, i == 0)
	}
	unit(6, true)
	got := frame(t, c)
	if !got.KeyFrame || got.Sequence != 7 || got.Dropped != (Loss{6, 1200 * time.Millisecond}) {
		t.Errorf("goes on with %+v; want the key frame 7, after 6 dropped in 1.2 s", got)
	}
}

// A consumer that comes late was not sent what was before, so that no drop costs as much.
func TestTrackF6ADropCostsNoMoreThanItsPicture(t *testing.T) {
	track := newTestTrack(t, KindVideo)
	f := newFeeder(t, track, clips.AliceCamera(), 7)
	for range 15 {
		f.feed()
	}
	f.now = f.now.Add(-time.Hour) // what is kept is too old to start with
	c := subscribe(t, track, Request{Queue: Queue{MaxBytes: 1}})
	slow := subscribe(t, track, Request{Video: &VideoFormat{MaxFPS: 10}, Queue: Queue{MaxBytes: 1}})
	for range len(f.units) {
		f.feed()
	}
	last := time.Duration(0)
	for _, one := range []*Consumer{c, slow} {
		got := frame(t, one)
		for got.Time < time.Duration(len(f.units)+14)*time.Second/time.Duration(clips.AliceCamera().FPS)-200*time.Millisecond {
			got = frame(t, one)
		}
		last = max(last, got.Dropped.Duration)
	}
	if limit := time.Duration(len(f.units)) * time.Second / time.Duration(clips.AliceCamera().FPS); last > limit {
		t.Errorf("drops cost %v of %v", last, limit)
	}
}

func TestOpusPacketBeyondTheLongestHasNoLength(t *testing.T) {
	if n := packetSamples(opusParams, []byte{3<<3 | 3, 63}); n != 0 {
		t.Errorf("a packet of 63 × 60 ms has %d samples", n)
	}
}

// Workers for video help with audio that has fallen behind.
func TestPoolF5AudioIsDecodedByAllWorkers(t *testing.T) {
	pool := NewDecodePool(1)
	t.Cleanup(pool.Close)
	for range 20 { // In the first rounds a worker may not have gone to sleep yet.
		first, second := make(chan struct{}), make(chan struct{})
		pool.schedule(&task{kind: KindAudio, step: func(*wakes) bool {
			close(first)
			select {
			case <-second:
			case <-t.Context().Done():
			}
			return false
		}})
		within(t, first)
		pool.mu.Lock() // at once, or a worker for video that is still awake takes some, and the rest is no backlog
		for range audioBacklog {
			pool.enqueue(&task{kind: KindAudio, step: func(*wakes) bool { return false }})
		}
		pool.enqueue(&task{kind: KindAudio, step: func(*wakes) bool { close(second); return false }})
		pool.mu.Unlock()
		within(t, second)
	}
}

func within(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(hang):
		t.Error("audio waits although a worker is idle")
		t.FailNow()
	}
}

// Where only one side is limited, what a picture is enlarged to shows with the first one: it is refused then, and nothing is made of it.
func TestF12_EnlargingIsBoundedInPixels(t *testing.T) {
	noCMemory(t)
	pool := newPool(t, 1)
	track := NewTrack(TrackConfig{Kind: KindVideo, Pool: pool, Logger: slog.New(slog.DiscardHandler), MaxPicturePixels: 640 * 360})
	t.Cleanup(func() { track.End(EndClosed) })
	for _, c := range []struct {
		width int
		ok    bool
	}{{640, true}, {642, false}} {
		one := subscribe(t, track, Request{Video: &VideoFormat{Width: c.width, AllowUpscale: true}, Queue: patient})
		newFeeder(t, track, clips.BobCamera(), uint32(c.width)).feed()
		item, err := next(t, one)
		var format *FormatError
		if refused := errors.As(err, &format); refused == c.ok {
			t.Errorf("%d wide: got %+v, %v", c.width, item, err)
		}
		if err == nil {
			item.Frame.Payload.Release()
		}
	}
}
