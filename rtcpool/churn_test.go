package rtcpool_test

import (
	"fmt"
	"testing"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// TestS7_RunningStreamsGoOnWhileTracksAreAdded adds a track in each of 50 negotiations: the streams before lose no sequence
// number, keep media object and ssrc, and are told of once; each new one arrives.
func TestS7_RunningStreamsGoOnWhileTracksAreAdded(t *testing.T) {
	c := newLab(t).call("call")
	mic, cam := c.track("alice", microphone, clips.AliceMicrophone()), c.track("bob", camera, clips.BobCamera())
	running := []*sfutest.Track{mic, cam}
	first := c.add(running...)
	audio, video := encoded(t, first[0].Track), encoded(t, first[1].Track)
	const rounds = 50
	for i := range rounds {
		name := fmt.Sprint("guest-", i)
		next := c.track(name, microphone, clips.BobMicrophone())
		m := c.add(next)[0]
		if m.SSRC == first[0].SSRC || m.Track == first[0].Track {
			t.Fatalf("round %d: the new media is the old one: %+v", i, m)
		}
		for k, was := range first {
			if now := c.seen.now(was.ID); now != was {
				t.Fatalf("round %d: %v was %+v, is %+v", i, running[k], was, now)
			}
		}
		running = append(running, next)
		if i%10 != 0 {
			next.Hold(true) // fifty voices at once would only be work
		}
	}
	audio.more(10)
	video.more(10)
	for _, m := range first {
		if added, removed := c.seen.told(m.ID); added != 1 || removed != 0 {
			t.Errorf("%s: added %d times, removed %d times", m.StreamID, added, removed)
		}
	}
	if n := len(c.seen.added); n != rounds+2 {
		t.Errorf("%d media added, want %d", n, rounds+2)
	}
	c.account(running[:2]...)
	audio.whole(960)
	video.whole(0)
}
