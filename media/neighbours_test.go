package media

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// TestF15_NoisyTracksShareAWorker has one worker decode all video: a track that sends noise, one whose consumer does not read, one that comes and
// goes, and others, of which no picture is missing.
func TestF15_NoisyTracksShareAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		noCMemory(t)
		const quiet, pictures = 6, 90
		pool := newPool(t, 1)
		begin := func() (*Track, *feeder) {
			track := NewTrack(TrackConfig{Kind: KindVideo, Pool: pool, Logger: slog.New(slog.DiscardHandler)})
			t.Cleanup(func() { track.End(EndClosed) })
			return track, newFeeder(t, track, clips.BobCamera(), 7)
		}
		var feeders []*feeder
		var readers []*Consumer
		for range quiet {
			track, f := begin()
			feeders, readers = append(feeders, f), append(readers, subscribe(t, track, Request{Queue: patient}))
		}
		stalled, unread := begin()
		stalls := subscribe(t, stalled, Request{Queue: Queue{MaxDuration: 200 * time.Millisecond}})
		corrupt, noisy := begin()
		subscribe(t, corrupt, Request{Queue: patient})
		noisy.units = append([]clips.Unit(nil), noisy.units[:1]...)
		noisy.units[0].Data = append(append([]byte(nil), noisy.units[0].Data[:60]...), make([]byte, 500)...)
		feeders = append(feeders, unread, noisy)
		began := time.Now()
		for range pictures {
			restless, f := begin()
			subscribe(t, restless, Request{Queue: patient})
			for _, f := range append(feeders, f) {
				f.now = time.Now()
				f.feed()
			}
			time.Sleep(time.Second / 30)
			restless.End(EndMediaGone)
		}
		if d := time.Since(began); d > pictures*time.Second/25 {
			t.Errorf("who writes packets was held up: %v", d)
		}
		for i, c := range readers {
			for want := range pictures {
				if waiting(c) == 0 {
					t.Fatalf("track %d: %d pictures of %d", i, want, pictures)
				}
				if got := frame(t, c); got.Sequence != uint64(want+1) || got.Lost.Frames+got.Dropped.Frames != 0 {
					t.Fatalf("track %d: %+v is number %d", i, got, want)
				}
			}
		}
		if s := corrupt.Stats(); s.DecodeErrors < pictures/2 || waiting(stalls) > 10 {
			t.Errorf("%d faults, %d pictures wait", s.DecodeErrors, waiting(stalls))
		}
	})
}
