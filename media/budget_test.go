package media

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// newPoolTrack returns a track of its own on a pool.
func newPoolTrack(t *testing.T, pool *DecodePool, kind Kind) *Track {
	t.Helper()
	track := NewTrack(TrackConfig{Kind: kind, Pool: pool, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { track.End(EndClosed) })
	return track
}

// newPool returns a pool that ends with the test.
func newPool(t *testing.T, workers int, options ...PoolOption) *DecodePool {
	t.Helper()
	pool := NewDecodePool(workers, options...)
	t.Cleanup(pool.Close)
	return pool
}

// What all queues hold together is bounded, and who reads pays nothing for who does not: 3 consumers of 2 tracks get 200 frames of 1 kB each
// in a pool of 10 kB, and one of them reads.
func TestF6_AllQueuesTogetherAreBounded(t *testing.T) {
	pool := newPool(t, 1, WithQueueBytes(10_000))
	one, other := newPoolTrack(t, pool, KindAudio), newPoolTrack(t, pool, KindAudio)
	reads := subscribe(t, one, Request{Queue: patient})
	sleeps := subscribe(t, one, Request{Queue: patient})
	naps := subscribe(t, other, Request{Queue: patient})
	var released [3][]*int
	for i := range 200 {
		for n, c := range []*Consumer{reads, sleeps, naps} {
			p, done := counted(1000)
			released[n] = append(released[n], done)
			c.push(&Frame{Time: time.Duration(i) * time.Millisecond, span: time.Millisecond, Payload: p})
			if held := pool.Stats().QueuedBytes; held > 10_000 {
				t.Fatalf("the queues hold %d bytes", held)
			}
		}
		got := frame(t, reads)
		if got.Sequence != uint64(i+1) || got.Dropped != (Loss{}) {
			t.Fatalf("who reads got frame %d after %v dropped", got.Sequence, got.Dropped)
		}
	}
	s := pool.Stats()
	queued := int(s.QueuedBytes / 1000)
	if queued != 9 && queued != 10 || s.QueueDropped != uint64(400-queued) {
		t.Errorf("%+v; want 9 or 10 frames queued and the rest of 400 dropped", s)
	}
	for i, c := range []*Consumer{sleeps, naps} {
		got := frame(t, c)
		if n := got.Dropped.Frames; n < 194 || n > 197 || got.Dropped.Duration != time.Duration(n)*time.Millisecond || got.Sequence != uint64(n)+1 {
			t.Errorf("consumer %d goes on with frame %d after %v dropped", i, got.Sequence, got.Dropped)
		}
		c.Close()
	}
	for n := range released[1:] {
		gone := 0
		for _, r := range released[n+1] {
			gone += *r
		}
		if gone < 199 { // The one that was taken is released when the test ends.
			t.Errorf("%d of 200 payloads were released", gone)
		}
	}
	if held := pool.Stats().QueuedBytes; held != 0 {
		t.Errorf("%d bytes are left", held)
	}
}

// A frame that alone is more than all queues may hold is dropped too, and told of.
func TestF6_NoFrameIsTooLargeForTheBound(t *testing.T) {
	pool := newPool(t, 1, WithQueueBytes(1000))
	c := subscribe(t, newPoolTrack(t, pool, KindAudio), Request{Queue: patient})
	c.push(&Frame{Payload: newPayload(nil, make([]byte, 1001))})
	if held := pool.Stats().QueuedBytes; held != 0 {
		t.Errorf("%d bytes are queued", held)
	}
	c.push(&Frame{Payload: newPayload(nil, make([]byte, 10))})
	if got := frame(t, c); got.Sequence != 2 || got.Dropped.Frames != 1 {
		t.Errorf("got frame %d after %v dropped", got.Sequence, got.Dropped)
	}
}

// What is left of encoded video after the bound of all queues hit it begins with a key frame, and one is asked for.
func TestF6_EncodedGoesOnAtAKeyFrameAfterTheBoundOfAll(t *testing.T) {
	asks := make(chan struct{}, 1)
	pool := newPool(t, 1, WithQueueBytes(2500))
	track := NewTrack(TrackConfig{
		Kind: KindVideo, Pool: pool, Logger: slog.New(slog.DiscardHandler), RequestKeyFrame: func() { asks <- struct{}{} },
	})
	t.Cleanup(func() { track.End(EndClosed) })
	c := subscribe(t, track, Request{Encoded: true, Queue: patient})
	within(t, asks) // the first consumer's
	unit := func(i int, key bool) {
		u := newUnit()
		u.codec, u.key, u.time = vp8Params, key, time.Duration(i)*time.Millisecond
		u.hold(make([]byte, 1000))
		track.mu.Lock()
		track.video.deliverEncoded(c, u, false)
		track.mu.Unlock()
		u.release()
	}
	unit(0, true)
	track.keyFrames.satisfied()
	for i := 1; i < 6; i++ {
		unit(i, false)
	}
	within(t, asks)
	unit(6, true)
	unit(7, false)
	for want := range 2 {
		if got := frame(t, c); got.KeyFrame != (want == 0) || got.Time != time.Duration(6+want)*time.Millisecond {
			t.Errorf("frame %d lies at %v, key %v", want, got.Time, got.KeyFrame)
		}
	}
}

// With the policy Disconnect the bound of all ends the consumer.
func TestF6_TheBoundOfAllDisconnects(t *testing.T) {
	pool := newPool(t, 1, WithQueueBytes(1500))
	told := 0
	c := subscribe(t, newPoolTrack(t, pool, KindAudio), Request{
		Queue: Queue{MaxBytes: 1 << 20, MaxDuration: time.Hour, Overflow: Disconnect}, Stalled: func() { told++ },
	})
	for range 2 {
		c.push(&Frame{Payload: newPayload(nil, make([]byte, 1000))})
	}
	if _, err := next(t, c); !errors.Is(err, ErrStalled) || told == 0 {
		t.Errorf("got %v, told %d times", err, told)
	}
	if s := pool.Stats(); s.QueuedBytes != 0 || s.QueueDropped != 2 {
		t.Errorf("%+v", s)
	}
}

// stalling is a consumer that gets a frame every 20 ms of a clock that the test owns.
func stalling(t *testing.T, f func(t *testing.T, c *Consumer, feed func(time.Duration), told *int)) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		c := subscribe(t, newTestTrack(t, KindAudio), Request{StallAfter: 10 * time.Second, Stalled: func() { told++ }})
		at := time.Duration(0)
		f(t, c, func(d time.Duration) {
			for end := at + d; at < end; at += 20 * time.Millisecond {
				time.Sleep(20 * time.Millisecond)
				c.push(&Frame{Time: at, span: 20 * time.Millisecond, Duration: 20 * time.Millisecond, Payload: newPayload(nil, make([]byte, 640))})
				if n := len(c.queue) - c.head; n > 26 {
					t.Fatalf("%d frames are queued", n)
				}
			}
		}, &told)
	})
}

// A consumer that is not read for longer than the limit is ended, and nothing is kept for it.
func TestF6_WhoStopsReadingIsEnded(t *testing.T) {
	stalling(t, func(t *testing.T, c *Consumer, feed func(time.Duration), told *int) {
		feed(time.Second)
		frame(t, c)
		feed(9900 * time.Millisecond)
		if *told != 0 || c.done() {
			t.Fatal("ended too early")
		}
		feed(200 * time.Millisecond)
		if *told != 1 {
			t.Errorf("told %d times", *told)
		}
		if _, err := next(t, c); !errors.Is(err, ErrStalled) {
			t.Errorf("got %v, want ErrStalled", err)
		}
		if held := c.held.Load(); held != 0 {
			t.Errorf("%d bytes are kept", held)
		}
	})
}

// Who reads slowly loses frames and is told, but is not ended; nor is who waited long for something to read.
func TestF6_WhoReadsSlowlyIsNotEnded(t *testing.T) {
	stalling(t, func(t *testing.T, c *Consumer, feed func(time.Duration), told *int) {
		var dropped uint32
		for range 10 {
			feed(5 * time.Second)
			dropped += frame(t, c).Dropped.Frames
		}
		if dropped == 0 || *told != 0 {
			t.Errorf("%d frames dropped, told %d times", dropped, *told)
		}
		for c.head < len(c.queue) {
			frame(t, c)
		}
		time.Sleep(time.Hour) // paused
		feed(5 * time.Second)
		if frame(t, c); *told != 0 {
			t.Error("a pause counts as a stall")
		}
	})
}
