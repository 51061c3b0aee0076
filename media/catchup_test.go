package media

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media/internal/cmem"
)

// takes has a track's decoder take so long for each unit.
func takes(track *Track, d time.Duration) {
	cost := new(atomic.Int64) // while it takes it the track must not be ended: synctest sees no end of waiting for a lock
	cost.Store(int64(d))
	track.video.newDecoder = func(codec Codec, maxPixels int) (videoDecoder, error) {
		dec, err := newVideoDecoder(codec, maxPixels)
		return slowDecoder{dec, cost}, err
	}
}

// After a rest of 10 s a decoder takes a while to see what it has missed. Nothing that comes meanwhile is dropped for that, no key frame is asked for,
// no other track is limited, and what has become older than 500 ms by then is not shown as live.
func TestF14_CatchingUpDropsNothing(t *testing.T) {
	joins(t, func(t *testing.T, j *joining) {
		takes(j.track, 2*time.Millisecond) // 8 for these
		j.units = j.units[:70:70]          // of which the first alone is a key frame
		keyless := func(n int) {
			for range n {
				j.next = max(j.next%len(j.units), 1)
				j.now = time.Now()
				j.feed()
				time.Sleep(time.Second / 30)
			}
		}
		c := subscribe(t, j.track, Request{Queue: patient})
		j.live(10)
		time.Sleep(time.Second / 10) // all is decoded
		c.Close()
		keyless(300)
		before, asks, stage := j.track.Stats(), j.asks.Load(), stageAll
		attached := time.Now()
		c = subscribe(t, j.track, Request{Queue: patient})
		for range 5 {
			keyless(30)
			j.track.cfg.Pool.load.mu.Lock()
			stage = max(stage, j.track.cfg.Pool.load.stage)
			j.track.cfg.Pool.load.mu.Unlock()
		}
		time.Sleep(5 * time.Second) // all is decoded
		after := j.track.Stats()
		if n := j.asks.Load() - asks; n != 0 || after.UnitsDropped != before.UnitsDropped || stage != stageAll {
			t.Errorf("%d key frames were asked for, %d units dropped, the load at stage %d", n, after.UnitsDropped-before.UnitsDropped, stage)
		}
		if got := waiting(c); got < 149 {
			t.Errorf("%d pictures of 150", got)
		}
		if got := frame(t, c); got.Received.Before(attached) {
			t.Errorf("the first picture was received %v before anybody came, after all that was missed", attached.Sub(got.Received))
		}
	})
}

// What all decoders that rest hold together is bounded: one more ends at once, until another one has ended.
func TestF14_AllRestsTogetherAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		noCMemory(t)
		pool := newPool(t, 1)
		var tracks [2]*joining
		for i := range tracks {
			track := NewTrack(TrackConfig{Kind: KindVideo, Pool: pool, Logger: slog.New(slog.DiscardHandler)})
			t.Cleanup(func() { track.End(EndClosed) })
			tracks[i] = &joining{track: track, feeder: newFeeder(t, track, clips.AliceCamera(), 7)}
		}
		poll := func(i int) bool {
			c := subscribe(t, tracks[i].track, Request{Queue: patient})
			tracks[i].next = 0
			tracks[i].live(3)
			c.Close()
			synctest.Wait()
			on, _, _ := tracks[i].rests()
			return on
		}
		clip := clips.AliceCamera()
		one := int64(clip.Width*clip.Height*3/2) * restPictures
		pool.maxRested = one + one/2
		if !poll(0) || poll(1) || len(cmem.Live()) == 0 {
			t.Error("not the first of two decoders rests alone")
		}
		tracks[0].live(5)
		time.Sleep(DefaultRest)
		synctest.Wait()
		if n := pool.rested.Load(); n != 0 || len(cmem.Live()) != 0 {
			t.Errorf("%d bytes are reckoned to nobody, %+v", n, cmem.Live())
		}
		if !poll(1) {
			t.Error("the second decoder does not rest after the first")
		}
		pool.maxRested = pool.rested.Load() + 10
		tracks[1].live(3)
		if on, units, _ := tracks[1].rests(); on || units != 0 || pool.rested.Load() != 0 {
			t.Errorf("resting %v with %d units, %d bytes", on, units, pool.rested.Load())
		}
	})
}

// Units that are decoded only to catch up are no sign of a load; others that wait are.
func TestLoadIsNotWhatCatchesUp(t *testing.T) {
	long := time.Now().Add(-2 * lateAfter)
	for quiet, want := range map[bool]bool{true: false, false: true} {
		var s loadShare
		if s.judge([]queuedUnit{{quiet: quiet, queued: long}}); s.behind != want {
			t.Errorf("quiet %v: behind is %v", quiet, s.behind)
		}
	}
}

// What came while nobody consumed is not the rate at which units come: it would keep the pool from giving anything back.
func TestLoadCountsWhatCouldBeDecoded(t *testing.T) {
	track := newTestTrack(t, KindVideo)
	f := newFeeder(t, track, clips.AliceCamera(), 7)
	for range 200 {
		f.feed()
	}
	if s := track.video.measureLoad(); s.rate != 0 {
		t.Errorf("%v units a second come", s.rate)
	}
}
