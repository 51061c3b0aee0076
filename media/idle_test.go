package media

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// fullHD makes a feeder send 1080p30.
func fullHD(t *testing.T, track *Track) *feeder {
	t.Helper()
	f := newFeeder(t, track, clips.AliceCamera(), 7)
	f.units = nil
	for i, u := range clipUnits(t, "vp8-1080p.ivf") {
		f.units = append(f.units, clips.Unit{Data: u, Duration: time.Second / 30, KeyFrame: i == 0})
	}
	return f
}

// 1080p30 without a consumer: ten minutes of it, as fast as it goes, are decoded by nobody and leave resident memory flat. Then the
// first picture of who attaches is newer than 500 ms.
func TestF4_NobodyConsumes1080p(t *testing.T) {
	if os.Getenv(childVar) == "" {
		wantFlat(t, childFootprints(t), 3, 2<<20)
		return
	}
	track := newTestTrack(t, KindVideo)
	f := fullHD(t, track)
	minutes := func(n int) {
		f.now = time.Now().Add(-time.Duration(n) * time.Minute)
		for range n * 60 * 30 {
			f.feed()
		}
	}
	for range 3 {
		minutes(5)
		tellFootprint(t)
	}
	s := track.Stats()
	if s.Decoded != 0 || s.Units != 3*5*60*30 || s.UnitsDropped != 0 {
		t.Fatalf("%+v", s)
	}
	attached := time.Now()
	c := subscribe(t, track, Request{Queue: patient})
	got, fed := first(t, f, c)
	if got.Received.Before(attached.Add(-500*time.Millisecond)) || got.Width != 1920 || got.Height != 1080 {
		t.Errorf("the first picture was received %v before and has %d×%d", attached.Sub(got.Received), got.Width, got.Height)
	}
	if n := track.Stats().Decoded; n > uint64(len(f.units)+fed) {
		t.Errorf("%d pictures were decoded for the first", n)
	}
}

// first returns the first picture for a consumer, while more come in real time: on a busy machine what came before may be too old by now.
func first(t *testing.T, f *feeder, c *Consumer) (got *Frame, fed int) {
	t.Helper()
	limit := time.Now().Add(hang)
	for time.Now().Before(limit) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/30)
		item, err := c.Next(ctx)
		cancel()
		switch {
		case err == nil && item.Frame != nil:
			t.Cleanup(item.Frame.Payload.Release)
			return item.Frame, fed
		case err != nil && !errors.Is(err, context.DeadlineExceeded):
			t.Fatal(err)
		}
		f.now = time.Now()
		f.feed()
		fed++
	}
	t.Fatal("no picture comes")
	return nil, 0
}

// 1,000 consumers attach, get a frame that was really decoded, and detach; 200 tracks end that never had one. Nothing is left, resident memory
// included.
func TestF5_ConsumersComeAndGo(t *testing.T) {
	if os.Getenv(childVar) == "" {
		wantFlat(t, childFootprints(t), 5, 8<<20)
		return
	}
	pool := newPool(t, 2)
	cycles(t, pool, 200) // libraries, arenas and pools that stay
	unread(t, pool, 50)
	tellFootprint(t)
	for range 4 {
		cycles(t, pool, 250)
		unread(t, pool, 50)
		tellFootprint(t)
	}
}

// cycles lets consumers of every kind attach to two tracks and detach. Some tracks end while they are attached.
func cycles(t *testing.T, pool *DecodePool, n int) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	var video, audio *Track
	var pictures, packets *feeder
	begin := func() {
		video = NewTrack(TrackConfig{Kind: KindVideo, Pool: pool, Logger: quiet})
		audio = NewTrack(TrackConfig{Kind: KindAudio, Pool: pool, Logger: quiet})
		pictures, packets = newFeeder(t, video, clips.BobCamera(), 7), newFeeder(t, audio, clips.AliceMicrophone(), 8)
	}
	begin()
	formats := []*VideoFormat{nil, {Pixel: JPEG}, {Pixel: RGB24, Width: 320}, {Pixel: NV12, Width: 100, Height: 100, Fit: Cover}}
	for i := range n {
		r, track := Request{Video: formats[i/2%len(formats)], Queue: patient}, video
		if i%2 == 1 {
			r, track = Request{Audio: &AudioFormat{Rate: []int{16000, 44100}[i/2%2]}, Queue: patient}, audio
		}
		pictures.next = 0 // a key frame
		c, err := track.Subscribe(r)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			pictures.feed()
			packets.feed()
		}
		item, err := next(t, c)
		if err != nil || item.Frame == nil {
			t.Fatalf("got %+v, %v", item, err)
		}
		item.Frame.Payload.Release()
		if i%50 == 49 {
			video.End(EndMediaGone)
			audio.End(EndClosed)
			begin()
		}
		c.Close() // with what is queued
	}
	video.End(EndClosed)
	audio.End(EndClosed)
}

// unread makes tracks that receive media and end without ever having had a consumer.
func unread(t *testing.T, pool *DecodePool, n int) {
	t.Helper()
	for range n {
		track := NewTrack(TrackConfig{Kind: KindVideo, Pool: pool, Logger: slog.New(slog.DiscardHandler)})
		f := newFeeder(t, track, clips.BobCamera(), 7)
		f.drop = func(n int) bool { return n%7 == 6 }
		for range 40 {
			f.feed()
		}
		track.End(EndMediaGone)
		if s := track.Stats(); s.Decoded != 0 {
			t.Fatalf("%+v", s)
		}
	}
}

// A track that ends without ever having had a consumer holds nothing after its end: no unit is referred to.
func TestF5_NothingIsHeldOfATrackThatNobodyRead(t *testing.T) {
	noCMemory(t)
	track := newTestTrack(t, KindVideo)
	f := newFeeder(t, track, clips.BobCamera(), 7)
	for range 10 {
		f.feed()
	}
	held := f.packetizer.Packetize(f.units[1].Data, 3000)
	raw, err := held[0].Marshal()
	if err != nil {
		t.Fatal(err)
	}
	raw[3] += 5 // out of order: it waits
	track.WriteRTP(raw, time.Now())
	run := track.video.run
	units := append([]*unit(nil), run...)
	track.End(EndMediaGone)
	for i, u := range units {
		if n := u.refs.Load(); n != 0 {
			t.Errorf("unit %d has %d references", i, n)
		}
	}
	if len(units) != 10 || len(track.video.run) != 0 || track.timer == nil || track.timer.Stop() {
		t.Errorf("%d units were kept; %d are, and the timer may run", len(units), len(track.video.run))
	}
}

// The units that are kept of a track hold memory of about their size, however large those were that came and went before: of a track that nobody reads that is
// all there is.
func TestF5_KeptUnitsHoldNoMoreThanTheyAre(t *testing.T) {
	const tracks, most = 4, 200_000
	var feeders []*feeder
	for i := range tracks {
		f := newFeeder(t, newTestTrack(t, KindVideo), clips.AliceCamera(), uint32(7+i))
		f.units[0].Data = append(bytes.Clone(f.units[0].Data), make([]byte, most-len(f.units[0].Data))...) // key frames are the larger ones
		feeders = append(feeders, f)
	}
	for range 10*len(feeders[0].units) + 50 { // no longer than what is kept
		for _, f := range feeders {
			f.feed()
		}
	}
	for i, f := range feeders {
		f.track.mu.Lock()
		held, long, units := 0, 0, f.track.video.run
		for _, u := range units {
			held, long = held+cap(u.small)+cap(u.data), long+len(u.data)
		}
		f.track.mu.Unlock()
		if len(units) < 20 || held > long*5/4+len(units)<<minPooledBits {
			t.Errorf("track %d: %d units of %d bytes hold %d", i, len(units), long, held)
		}
	}
}
