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
	track.cfg.Pool.schedule(&task{kind: KindVideo, step: func() bool { close(served); return false }})
	within(t, served) // the only worker for video has looked at who joined
	f.feed()
	if want, got := frame(t, first), frame(t, late); got.Time != want.Time || got.Sequence != 1 {
		t.Errorf("who joined late got the picture at %v, want %v", got.Time, want.Time)
	}
}
