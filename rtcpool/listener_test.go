package rtcpool_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
)

// toneRate is the rate at which listeners hear.
const toneRate = 16000

// listener is a consumer that looks at everything which it gets: the watermark of each picture, the tone of each half second, the
// timestamps of what is encoded.
type listener struct {
	t        *testing.T
	consumer *media.Consumer
	done     chan struct{}

	mu      sync.Mutex
	changed chan struct{}
	marks   map[int]int // watermark or tone: pictures or half seconds
	frames  []heard
	events  []media.Event
	err     error
	pcm     []int16
}

// heard is what is kept of a frame.
type heard struct {
	timestamp uint32
	sequence  uint64
	key       bool
	corrupt   bool
	lost      media.Loss
	dropped   media.Loss
}

// roomy is a queue that does not overflow in a test.
func roomy() media.Queue { return media.Queue{MaxBytes: 256 << 20, MaxDuration: 5 * time.Minute} }

// encoded listens to what comes, as it comes.
func encoded(t *testing.T, track *media.Track) *listener {
	t.Helper()
	return listen(t, track, media.Request{Encoded: true, Queue: roomy()})
}

// looking looks at small pictures of a track.
func looking(t *testing.T, track *media.Track) *listener {
	t.Helper()
	return listen(t, track, media.Request{Video: &media.VideoFormat{Width: 320}, Queue: roomy()})
}

// hearing hears a track.
func hearing(t *testing.T, track *media.Track) *listener {
	t.Helper()
	return listen(t, track, media.Request{Audio: &media.AudioFormat{Rate: toneRate, Channels: 1, Chunk: 20 * time.Millisecond}, Queue: roomy()})
}

// watching looks or hears, as the track is.
func watching(t *testing.T, of *sfutest.Track, track *media.Track) *listener {
	t.Helper()
	if of.Clip.IsAudio() {
		return hearing(t, track)
	}
	return looking(t, track)
}

func listen(t *testing.T, track *media.Track, r media.Request) *listener {
	t.Helper()
	consumer, err := track.Subscribe(r)
	must(t, err)
	l := &listener{t: t, consumer: consumer, done: make(chan struct{}), changed: make(chan struct{}), marks: map[int]int{}}
	go l.run()
	t.Cleanup(l.close)
	return l
}

// close detaches and waits.
func (l *listener) close() {
	l.consumer.Close()
	<-l.done
}

func (l *listener) run() {
	defer close(l.done)
	for {
		item, err := l.consumer.Next(context.Background())
		l.mu.Lock()
		switch {
		case err != nil:
			l.err = err
		case item.Event != nil:
			l.events = append(l.events, *item.Event)
		default:
			l.frame(item.Frame)
			item.Frame.Payload.Release()
		}
		close(l.changed)
		l.changed = make(chan struct{})
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// frame looks at a frame.
func (l *listener) frame(f *media.Frame) {
	l.frames = append(l.frames, heard{f.RTPTimestamp, f.Sequence, f.KeyFrame, f.Corrupt, f.Lost, f.Dropped})
	payload := slices.Concat(f.Payload.Parts()...)
	switch _, video := l.consumer.Format(); {
	case video != nil:
		mark, ok := clips.ReadWatermark(payload[f.Planes[0].Offset:], f.Width, f.Height, f.Planes[0].Stride)
		if !ok {
			mark = -1
		}
		l.marks[mark]++
	case f.Samples > 0:
		l.hear(payload)
	}
}

// hear collects half seconds.
func (l *listener) hear(s16le []byte) {
	for i := 0; i+1 < len(s16le); i += 2 {
		l.pcm = append(l.pcm, int16(uint16(s16le[i])|uint16(s16le[i+1])<<8)) //nolint:gosec // two's complement
	}
	if len(l.pcm) >= toneRate/2 {
		tone, _ := clips.ToneAt(l.pcm, toneRate)
		l.marks[tone]++
		l.pcm = l.pcm[:0]
	}
}

// until waits for a condition on what came; it is called with the lock.
func (l *listener) until(what string, holds func() bool) {
	l.t.Helper()
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		l.mu.Lock()
		good, changed := holds(), l.changed
		l.mu.Unlock()
		if good {
			return
		}
		select {
		case <-changed:
		case <-end.C:
			l.mu.Lock()
			defer l.mu.Unlock()
			l.t.Fatalf("%s: not within %v; %d frames, marks %v, events %+v, error %v", what, limit, len(l.frames), l.marks, l.events, l.err)
		}
	}
}

// more waits for n frames more than there are.
func (l *listener) more(n int) {
	l.t.Helper()
	l.mu.Lock()
	want := len(l.frames) + n
	l.mu.Unlock()
	l.until(fmt.Sprintf("%d frames", want), func() bool { return len(l.frames) >= want })
}

// sees waits for a mark.
func (l *listener) sees(mark int) {
	l.t.Helper()
	l.until(fmt.Sprintf("mark %d", mark), func() bool { return l.marks[mark] > 0 })
}

// only checks that no frame had another mark. Damaged ones and silence do not count, unless strictly.
func (l *listener) only(mark int) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for other, n := range l.marks {
		if other != mark && other > 0 {
			l.t.Errorf("%d frames have mark %d, want %d only", n, other, mark)
		}
	}
}

// ended waits for the end, and returns its reason.
func (l *listener) ended() media.EndReason {
	l.t.Helper()
	l.until("the end", func() bool { return l.err != nil })
	var end *media.EndedError
	l.mu.Lock()
	defer l.mu.Unlock()
	if !errors.As(l.err, &end) {
		l.t.Fatalf("ended with %v", l.err)
	}
	return end.Reason
}

// whole checks that nothing was lost on the way and nothing dropped, that frames are numbered without a hole, and that
// the timestamps of encoded ones step evenly.
func (l *listener) whole(step uint32) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		l.t.Errorf("ended: %v", l.err)
	}
	for i, f := range l.frames {
		if f.lost != (media.Loss{}) || f.dropped != (media.Loss{}) || f.corrupt {
			l.t.Errorf("frame %d of %d: %+v", i, len(l.frames), f)
		}
		if i == 0 {
			continue
		}
		before := l.frames[i-1]
		if f.sequence != before.sequence+1 || step != 0 && f.timestamp-before.timestamp != step {
			l.t.Errorf("frame %d of %d: %+v after %+v", i, len(l.frames), f, before)
		}
	}
}
