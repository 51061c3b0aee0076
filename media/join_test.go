package media

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// joining is a track on a clock of its own that counts the key frames it asks for.
type joining struct {
	*feeder
	track *Track
	asks  atomic.Int32
}

// joins runs a scene of consumers who join a track.
func joins(t *testing.T, scene func(t *testing.T, j *joining)) {
	synctest.Test(t, func(t *testing.T) {
		noCMemory(t)
		pool := newPool(t, 1)
		j := &joining{}
		j.track = NewTrack(TrackConfig{
			Kind: KindVideo, Pool: pool, Logger: slog.New(slog.DiscardHandler), RequestKeyFrame: func() { j.asks.Add(1) },
		})
		t.Cleanup(func() { j.track.End(EndClosed) })
		j.feeder = newFeeder(t, j.track, clips.AliceCamera(), 7)
		scene(t, j)
	})
}

// live feeds n pictures, each at its time.
func (j *joining) live(n int) {
	for range n {
		j.now = time.Now()
		j.feed()
		synctest.Wait()
		time.Sleep(time.Second / 30)
	}
}

// waiting returns how many frames wait for a consumer.
func waiting(c *Consumer) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) - c.head
}

// A further consumer of decoded frames gets the newest picture at once, before anything more is received, and no key frame is asked for.
func TestF10_AFurtherConsumerGetsAPictureAtOnce(t *testing.T) {
	joins(t, func(t *testing.T, j *joining) {
		first := subscribe(t, j.track, Request{Queue: patient})
		j.live(70) // more than 2 s: no run is kept
		newest := j.track.lastTime
		asks := j.asks.Load()
		for i, format := range []*VideoFormat{nil, {Pixel: RGB24, Width: 64}, {Pixel: JPEG, MaxFPS: 1}} {
			began, received := time.Now(), j.track.Stats().Packets
			c := subscribe(t, j.track, Request{Video: format})
			got := frame(t, c)
			if got.Time != newest || !time.Now().Equal(began) || j.track.Stats().Packets != received {
				t.Errorf("consumer %d got the picture at %v, want %v at once", i, got.Time, newest)
			}
		}
		if n := j.asks.Load() - asks; n != 0 || waiting(first) != 70 {
			t.Errorf("%d key frames were asked for, %d pictures for the first", n, waiting(first))
		}
	})
}

// A first consumer, and an encoded one, causes exactly one request when no short run is kept, however long the sender takes within a second, and
// begins with the first key frame that arrives.
func TestF10_AFirstOrEncodedConsumerAsksOnce(t *testing.T) {
	for name, r := range map[string]Request{"first": {Queue: patient}, "encoded": {Encoded: true, Queue: patient}} {
		t.Run(name, func(t *testing.T) {
			joins(t, func(t *testing.T, j *joining) {
				if r.Encoded {
					subscribe(t, j.track, Request{Queue: patient})
				}
				j.live(70)
				asks := j.asks.Load()
				c := subscribe(t, j.track, r)
				j.live(5)
				if n := j.asks.Load() - asks; n != 1 || waiting(c) != 0 {
					t.Errorf("%d key frames were asked for, %d frames delivered without any", n, waiting(c))
				}
				j.next = 0 // the key frame that was asked for
				key := time.Now()
				j.live(5)
				for i := range 5 {
					got := frame(t, c)
					if got.Sequence != uint64(i+1) || got.KeyFrame != (i == 0) || i == 0 && !got.Received.Equal(key) {
						t.Errorf("frame %d is %d, key %v, received at %v; want the first key frame at %v and what follows", i, got.Sequence, got.KeyFrame, got.Received, key)
					}
				}
				if n := j.asks.Load() - asks; n != 1 {
					t.Errorf("%d key frames were asked for", n)
				}
			})
		})
	}
}

// With a short run a first or an encoded consumer starts at once and nothing is asked for, unless what is kept is older than 500 ms: that is
// never delivered as live.
func TestF10_NothingOlderThanHalfASecondIsLive(t *testing.T) {
	for _, encoded := range []bool{false, true} {
		joins(t, func(t *testing.T, j *joining) {
			j.live(20)
			if c := subscribe(t, j.track, Request{Encoded: encoded, Queue: patient}); encoded {
				if got := frame(t, c); !got.KeyFrame || waiting(c) != 19 {
					t.Errorf("begins with key frame %v, and %d more", got.KeyFrame, waiting(c))
				}
				c.Close()
			} else {
				if got := frame(t, c); got.Time != j.track.lastTime || got.Sequence != 1 {
					t.Errorf("begins with %v, want %v", got.Time, j.track.lastTime)
				}
				c.Close()
			}
			if n := j.asks.Load(); n != 0 {
				t.Errorf("%d key frames were asked for though a run is kept", n)
			}
			time.Sleep(500 * time.Millisecond)
			c := subscribe(t, j.track, Request{Encoded: encoded, Queue: patient})
			synctest.Wait()
			if n := j.asks.Load(); n != 1 || waiting(c) != 0 {
				t.Errorf("%d key frames were asked for, %d old frames delivered", n, waiting(c))
			}
			j.next = 0
			j.live(1)
			if got := frame(t, c); !got.KeyFrame || time.Since(got.Received) > 500*time.Millisecond {
				t.Errorf("begins with key frame %v of %v ago", got.KeyFrame, time.Since(got.Received))
			}
		})
	}
}
