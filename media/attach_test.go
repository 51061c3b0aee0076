package media

import (
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// What is too old is not sent as live: neither the units kept since the last key frame nor the decoder's last picture.
func TestTrackF4NothingOldIsSentAsLive(t *testing.T) {
	track := newTestTrack(t, KindVideo)
	f := newFeeder(t, track, clips.AliceCamera(), 7)
	f.now = f.now.Add(-time.Hour)
	for range 5 {
		f.feed()
	}
	first := subscribe(t, track, Request{Queue: patient})
	encoded := subscribe(t, track, Request{Encoded: true, Queue: patient})
	f.next = 0 // a key frame
	f.feed()
	at := frame(t, first)
	if got := frame(t, encoded); at.Time == 0 || !at.KeyFrame || !got.KeyFrame || got.Time != at.Time || at.Sequence != 1 {
		t.Fatalf("decoded begins with %v at %v, encoded at %v; want the key frame that came after", at.KeyFrame, at.Time, got.Time)
	}
	late := subscribe(t, track, Request{Queue: patient})
	served := make(chan struct{})
	track.cfg.Pool.schedule(&task{kind: KindVideo, step: func(*wakes) bool { close(served); return false }})
	within(t, served) // the only worker for video has looked at who joined
	f.feed()
	if want, got := frame(t, first), frame(t, late); got.Time != want.Time || got.Sequence != 1 {
		t.Errorf("who joined late got the picture at %v, want %v", got.Time, want.Time)
	}
}

// TestTrackNotBeforeLeavesOutWhatIsOld subscribes with a time: encoded and decoded consumers get neither the run nor the last picture, and go on
// with what comes after, the decoded one without another key frame.
func TestTrackNotBeforeLeavesOutWhatIsOld(t *testing.T) {
	track := newTestTrack(t, KindVideo)
	f := newFeeder(t, track, clips.AliceCamera(), 7)
	running := subscribe(t, track, Request{})
	key := f.feed()
	for range 3 {
		f.feed()
	}
	for range 4 {
		frame(t, running)
	}
	since := f.now // when the next is received
	joined := subscribe(t, track, Request{Queue: patient, NotBefore: since})
	encoded := subscribe(t, track, Request{Encoded: true, Queue: patient, NotBefore: since})
	running.Close()
	joined.Close()
	alone := subscribe(t, track, Request{NotBefore: since})
	joined = subscribe(t, track, Request{NotBefore: since})
	later := since.Add(time.Nanosecond)
	strict := subscribe(t, track, Request{Queue: patient, NotBefore: later})
	next := f.feed()
	if next.KeyFrame || !key.KeyFrame {
		t.Fatal("the clip has its key frames elsewhere")
	}
	for _, c := range []*Consumer{alone, joined} {
		got := frame(t, c)
		if got.Received.Before(since) || got.Sequence != 1 || got.KeyFrame {
			t.Errorf("the first picture is %+v", got)
		}
	}
	for !f.feed().KeyFrame {
	}
	if got := frame(t, strict); got.Received.Before(later) || got.Sequence != 1 {
		t.Errorf("the first picture is %+v", got)
	}
	got := frame(t, encoded)
	if !got.KeyFrame || got.Received.Before(since) || got.Sequence != 1 {
		t.Errorf("the first unit is %+v", got)
	}
}
