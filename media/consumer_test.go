package media

import (
	"context"
	"errors"
	"testing"
	"time"

	"log/slog"
)

// newTestTrack returns a track that nothing decodes for.
func newTestTrack(t *testing.T, kind Kind) *Track {
	t.Helper()
	pool := NewDecodePool(1)
	track := NewTrack(TrackConfig{Kind: kind, Pool: pool, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		track.End(EndClosed)
		pool.Close()
	})
	return track
}

func subscribe(t *testing.T, track *Track, r Request) *Consumer {
	t.Helper()
	c, err := track.Subscribe(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// hang is the limit past which a test counts as hanging.
const hang = 30 * time.Second

func next(t *testing.T, c *Consumer) (Item, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	item, err := c.Next(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		t.Fatal("Next hangs")
	}
	return item, err
}

// counted returns a payload of n bytes and how often it was released.
func counted(n int) (*Payload, *int) {
	released := new(int)
	return newPayload(func() { *released++ }, make([]byte, n)), released
}

func TestConsumerF6DropsTheOldestAndTells(t *testing.T) {
	track := newTestTrack(t, KindVideo)
	c := subscribe(t, track, Request{Encoded: true, Queue: Queue{MaxBytes: 2500}})
	var releases []*int
	for i := range 5 {
		p, released := counted(1000)
		releases = append(releases, released)
		c.push(&Frame{Time: time.Duration(i) * 33 * time.Millisecond, span: 33 * time.Millisecond, Lost: Loss{Frames: 1}, Payload: p})
	}
	item, err := next(t, c)
	if err != nil {
		t.Fatal(err)
	}
	f := item.Frame
	if f.Sequence != 4 || f.Dropped != (Loss{3, 99 * time.Millisecond}) || f.Lost.Frames != 4 {
		t.Fatalf("got sequence %d, dropped %v, lost %v; want 4, 3 of 99 ms, 4", f.Sequence, f.Dropped, f.Lost)
	}
	for i, r := range releases {
		if want := map[bool]int{true: 1, false: 0}[i < 3]; *r != want {
			t.Errorf("payload %d released %d times, want %d", i, *r, want)
		}
	}
	f.Payload.Release()
	if item, _ = next(t, c); item.Frame.Sequence != 5 || item.Frame.Dropped.Frames != 0 {
		t.Fatalf("a drop is told twice")
	}
	item.Frame.Payload.Release()
}

func TestConsumerF6IsBoundedInTimeToo(t *testing.T) {
	track := newTestTrack(t, KindAudio)
	c := subscribe(t, track, Request{Queue: Queue{MaxDuration: 100 * time.Millisecond}})
	for i := range 50 {
		c.push(&Frame{Time: time.Duration(i) * 20 * time.Millisecond, Duration: 20 * time.Millisecond, span: 20 * time.Millisecond, Payload: newPayload(nil, make([]byte, 10))})
	}
	item, _ := next(t, c)
	if item.Frame.Sequence != 46 || item.Frame.Dropped != (Loss{45, 900 * time.Millisecond}) {
		t.Fatalf("sequence %d, dropped %v; want 46 and 45 of 900 ms", item.Frame.Sequence, item.Frame.Dropped)
	}
}

func TestConsumerKeepsAFrameThatAloneIsTooLarge(t *testing.T) {
	track := newTestTrack(t, KindVideo)
	c := subscribe(t, track, Request{Encoded: true, Queue: Queue{MaxBytes: 10}})
	c.push(&Frame{Payload: newPayload(nil, make([]byte, 1000))})
	if item, err := next(t, c); err != nil || item.Frame == nil {
		t.Fatalf("got %v, %v", item, err)
	}
}

func TestConsumerF6WithPolicyDisconnectEnds(t *testing.T) {
	track := newTestTrack(t, KindVideo)
	c := subscribe(t, track, Request{Encoded: true, Queue: Queue{MaxBytes: 1500, Overflow: Disconnect}})
	p1, r1 := counted(1000)
	p2, r2 := counted(1000)
	p3, r3 := counted(1000)
	c.push(&Frame{Payload: p1})
	c.push(&Frame{Payload: p2})
	c.push(&Frame{Payload: p3})
	if _, err := next(t, c); !errors.Is(err, ErrStalled) {
		t.Fatalf("got %v, want ErrStalled", err)
	}
	if *r1 != 1 || *r2 != 1 || *r3 != 1 {
		t.Fatalf("released %d %d %d times, want once each", *r1, *r2, *r3)
	}
}

func TestConsumerKeepsEventsInTheirPlace(t *testing.T) {
	track := newTestTrack(t, KindAudio)
	c := subscribe(t, track, Request{})
	frame := func(at time.Duration) { c.push(&Frame{Time: at, Payload: newPayload(nil, []byte{1})}) }
	frame(1)
	track.SetPaused(true, true)
	track.SetPaused(true, true)
	frame(2)
	track.SetPaused(false, false)
	want := []EventKind{0, EventPaused, 0, EventResumed}
	for i, w := range want {
		item, err := next(t, c)
		if err != nil {
			t.Fatal(err)
		}
		if got := item.Event; w == 0 && got != nil || w != 0 && (got == nil || got.Kind != w) {
			t.Fatalf("item %d is %+v, want kind %d", i, item, w)
		}
	}
	late := subscribe(t, track, Request{})
	track.SetPaused(true, false)
	later := subscribe(t, track, Request{})
	for _, c := range []*Consumer{late, later} {
		if item, err := next(t, c); err != nil || item.Event == nil || item.Event.Kind != EventPaused || item.Event.Muted {
			t.Fatalf("got %+v, %v; want one paused event", item, err)
		}
	}
}

func TestConsumerEventsAreBounded(t *testing.T) {
	track := newTestTrack(t, KindAudio)
	c := subscribe(t, track, Request{})
	for i := range 10 * maxQueuedEvents {
		c.tell(Event{Kind: EventGap, Time: time.Duration(i)})
	}
	item, err := next(t, c)
	if err != nil || item.Event.Time != 9*maxQueuedEvents {
		t.Fatalf("the first event is %+v, want number %d", item.Event, 9*maxQueuedEvents)
	}
}

func TestConsumerCloseWakesAndReleases(t *testing.T) {
	track := newTestTrack(t, KindVideo)
	c := subscribe(t, track, Request{Encoded: true})
	woken := make(chan error, 1)
	go func() {
		_, err := c.Next(context.Background())
		woken <- err
	}()
	c.Close()
	c.Close()
	select {
	case err := <-woken:
		if !errors.Is(err, ErrClosed) {
			t.Fatalf("got %v", err)
		}
	case <-time.After(hang):
		t.Fatal("Close does not wake Next")
	}
	p, released := counted(2000)
	c.push(&Frame{Payload: p})
	if *released != 1 {
		t.Fatal("a frame pushed after Close is not released")
	}
	if n := track.Stats().Consumers; n != 0 {
		t.Fatalf("%d consumers are still attached", n)
	}
}

func TestTrackEndLetsConsumersFinish(t *testing.T) {
	track := newTestTrack(t, KindAudio)
	c := subscribe(t, track, Request{})
	c.push(&Frame{Payload: newPayload(nil, []byte{1})})
	track.End(EndMediaGone)
	track.End(EndClosed)
	if item, err := next(t, c); err != nil || item.Frame == nil {
		t.Fatalf("what was queued is lost: %v", err)
	}
	var ended *EndedError
	if _, err := next(t, c); !errors.As(err, &ended) || ended.Reason != EndMediaGone {
		t.Fatalf("got %v, want the first reason", err)
	}
	if _, err := track.Subscribe(Request{}); !errors.As(err, &ended) {
		t.Fatalf("got %v, want EndedError", err)
	}
}

func TestSubscribeRefusesWhatCannotBe(t *testing.T) {
	audio, video := newTestTrack(t, KindAudio), newTestTrack(t, KindVideo)
	for _, tc := range []struct {
		name  string
		track *Track
		r     Request
		field string
		is    error
	}{
		{"rate", audio, Request{Audio: &AudioFormat{Rate: 1}}, "sample_rate_hz", nil},
		{"rate of CD halves", audio, Request{Audio: &AudioFormat{Rate: 22050}}, "sample_rate_hz", nil},
		{"channels", audio, Request{Audio: &AudioFormat{Channels: 6}}, "channels", nil},
		{"negative channels", audio, Request{Audio: &AudioFormat{Channels: -1}}, "channels", nil},
		{"chunk too short", audio, Request{Audio: &AudioFormat{Chunk: 9 * time.Millisecond}}, "chunk_ms", nil},
		{"chunk too long", audio, Request{Audio: &AudioFormat{Chunk: time.Second}}, "chunk_ms", nil},
		{"chunk not whole", audio, Request{Audio: &AudioFormat{Chunk: 10500 * time.Microsecond}}, "chunk_ms", nil},
		{"sample format", audio, Request{Audio: &AudioFormat{Sample: 9}}, "sample_format", nil},
		{"video of audio", audio, Request{Video: &VideoFormat{}}, "", ErrKindMismatch},
		{"audio of video", video, Request{Audio: &AudioFormat{}}, "", ErrKindMismatch},
		{"two formats", video, Request{Video: &VideoFormat{}, Encoded: true}, "format", nil},
		{"width", video, Request{Video: &VideoFormat{Width: 10_000}}, "width", nil},
		{"height", video, Request{Video: &VideoFormat{Height: -1}}, "height", nil},
		{"fps", video, Request{Video: &VideoFormat{MaxFPS: -1}}, "max_fps", nil},
		{"fps NaN", video, Request{Video: &VideoFormat{MaxFPS: nan()}}, "max_fps", nil},
		{"fps too many", video, Request{Video: &VideoFormat{MaxFPS: 241}}, "max_fps", nil},
		{"enlarged without end", video, Request{Video: &VideoFormat{Width: 8192, Height: 8192, AllowUpscale: true}}, "width", nil},
		{"cover without box", video, Request{Video: &VideoFormat{Fit: Cover, Width: 10}}, "fit", nil},
		{"quality", video, Request{Video: &VideoFormat{JPEGQuality: 101}}, "jpeg_quality", nil},
		{"pixel format", video, Request{Video: &VideoFormat{Pixel: 77}}, "pixel_format", nil},
	} {
		_, err := tc.track.Subscribe(tc.r)
		var fe *FormatError
		switch {
		case tc.is != nil && !errors.Is(err, tc.is):
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.is)
		case tc.is == nil && (!errors.As(err, &fe) || fe.Field != tc.field || fe.Text == ""):
			t.Errorf("%s: got %v, want a fault of %s", tc.name, err, tc.field)
		}
	}
}

func nan() float64 { zero := 0.0; return zero / zero }
