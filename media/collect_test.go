package media

import (
	"log/slog"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media/internal/cmem"
)

// Pictures that nobody gives back, as of dead connections, are collected before they fill the memory, though Go's heap alone would have no garbage
// collected at all.
func TestF16_PicturesOfTheDeadAreCollectedInTime(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	const (
		pictures   = 600 // more than twice of what may be held
		anInterval = 15  // of 30 a second
		bound      = 4 * minGarbage
	)
	start := CMemoryInUse()
	t.Cleanup(func() { // the last of them
		for limit := time.Now().Add(hang); CMemoryInUse() != start; runtime.GC() {
			if time.Now().After(limit) {
				t.Fatalf("%+v is left, was %+v", CMemoryInUse(), start)
			}
		}
	})
	pool := newPool(t, 1)
	track := NewTrack(TrackConfig{Kind: KindVideo, Pool: pool, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { track.End(EndClosed) })
	f := newFeeder(t, track, clips.AliceCamera(), 7)
	c := subscribe(t, track, Request{Queue: patient})
	most, collections := int64(0), collectionsNow()
	held := func() int64 { return CMemoryInUse().Bytes - start.Bytes }
	for i := range pictures {
		f.feed()
		take(t, c)
		if most = max(most, held()); most > bound {
			t.Fatalf("%d bytes are held after %d pictures", most, i)
		}
		if i%anInterval != 0 {
			continue
		}
		pool.load.look()
		if n := collectionsNow(); n > collections {
			collections = n
			for limit := time.Now().Add(hang); held() >= minGarbage*3/4; { // clean-ups run after it
				if time.Now().After(limit) {
					t.Fatalf("%d bytes are held after a collection", held())
				}
				time.Sleep(time.Millisecond)
			}
		}
	}
	if most < minGarbage {
		t.Errorf("%d bytes were held at most: nothing had to be collected", most)
	}
}

// collectionsNow is how often garbage was collected so far.
func collectionsNow() uint32 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NumGC
}

// What a decoder needed while a consumer held many pictures it gives back with them, though it goes on.
func TestF5_ADecoderShrinksAfterAStall(t *testing.T) {
	noCMemory(t)
	track := newTestTrack(t, KindVideo)
	f := newFeeder(t, track, clips.AliceCamera(), 7)
	c := subscribe(t, track, Request{Queue: patient})
	var held []*Frame
	pictures := func(n int) int64 {
		t.Helper()
		for range n {
			f.feed()
			held = append(held, take(t, c))
		}
		return CMemoryInUse().Bytes
	}
	release := func() {
		for _, h := range held {
			h.Payload.Release()
		}
		held = nil
	}
	pictures(10)
	release()
	usual := pictures(1)
	stalled := pictures(60)
	release()
	if after := pictures(1); stalled < 3*usual || after > 2*usual {
		t.Errorf("%d bytes are held usually, %d while 60 pictures are out, %d after", usual, stalled, after)
	}
	release()
}

// take returns the next frame, whose payload the caller releases.
func take(t *testing.T, c *Consumer) *Frame {
	t.Helper()
	item, err := next(t, c)
	if err != nil || item.Frame == nil {
		t.Fatalf("got %+v, %v", item, err)
	}
	return item.Frame
}

// However much of what is needed comes and goes, there are some looks between two collections; and what was once needed is no measure for later.
func TestF16_GarbageIsCollectedAtALimitedRate(t *testing.T) {
	var c collector
	needed := func(n int64) bool {
		cmem.Add(cmem.Picture, 0, n)
		defer cmem.Add(cmem.Picture, 0, -n)
		was := collectionsNow()
		c.look()
		return collectionsNow() > was
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	collections := 0
	for range 5 * looksApart {
		for _, n := range []int64{minGarbage / 4, 2 * minGarbage} {
			if needed(n) {
				collections++
			}
		}
	}
	if most := 2 * 5; collections > most || collections < 2 {
		t.Errorf("%d collections in %d looks", collections, 10*looksApart)
	}
	for range looksApart + 1 {
		needed(20 * minGarbage)
	}
	for range looksApart {
		needed(0)
	}
	if !needed(2 * minGarbage) {
		t.Error("nothing is collected after less was needed")
	}
}
