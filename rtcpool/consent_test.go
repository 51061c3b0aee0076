package rtcpool_test

import (
	"slices"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool"
)

// TestS15_LostConnectionsComeBackOrExpire cuts the network beneath a running call: each time the loss is reported as a state and a
// restart is asked for, once. An ICE restart brings the same media back, a new generation brings its own, and when nothing
// follows the session ends after its grace.
func TestS15_LostConnectionsComeBackOrExpire(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rtcpool.Config) { c.ConsentTimeout, c.Grace = 2*time.Second, time.Minute })
	c := l.call("call")
	other := l.call("other")
	bystander := other.track("carol", microphone, clips.BobMicrophone())
	other.add(bystander)
	tracks := []*sfutest.Track{c.track("alice", microphone, clips.AliceMicrophone()), c.track("bob", camera, clips.BobCamera())}
	before := c.add(tracks...)
	ears, eyes := watching(t, tracks[0], before[0].Track), watching(t, tracks[1], before[1].Track)
	eyes.sees(markOf(tracks[1]))

	c.cut(1, rtcpool.Restart{ICE: true, MinGeneration: 1}, 1)
	c.sfu.Network().Restore()
	must(t, c.sfu.Renegotiate(l.ctx, true))
	ears.more(30)
	eyes.more(30)
	for _, m := range before {
		if now := c.seen.now(m.ID); now != m {
			t.Errorf("was %+v, is %+v", m, now)
		}
	}

	c.cut(1, rtcpool.Restart{ICE: true, MinGeneration: 1}, 2)
	c.sfu.Network().Restore()
	must(t, c.sfu.Reconnect(l.ctx))
	for _, m := range before {
		c.seen.gone(t, m)
	}
	for _, track := range tracks {
		m := c.flowing(track)
		if w := watching(t, track, m.Track); m.Generation != 2 {
			t.Errorf("%+v", m)
		} else {
			w.sees(markOf(track))
		}
	}
	if reason := eyes.ended(); reason != media.EndClosed && reason != media.EndMediaGone {
		t.Errorf("ended: %v", reason)
	}
	other.account(bystander)
	if len(other.seen.record().restarts) != 0 {
		t.Errorf("%+v", other.seen.record().restarts)
	}
}

// TestS15_LostConnectionExpires lets the SFU die without a word: after the grace the session ends.
func TestS15_LostConnectionExpires(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rtcpool.Config) { c.ConsentTimeout, c.Grace = 2*time.Second, 4*time.Second })
	c := l.call("call")
	c.add(c.track("alice", microphone, clips.AliceMicrophone()))
	must(t, c.sfu.Vanish())
	c.lost(1, rtcpool.Restart{ICE: true, MinGeneration: 1}, 1)
	c.seen.until(t, "the end", func() bool { return len(c.seen.ended) > 0 })
	if !slices.Equal(c.seen.record().ended, []rtcpool.EndReason{rtcpool.EndMediaLost}) || len(c.seen.record().media) != 0 {
		t.Errorf("ended %v, media %+v", c.seen.record().ended, c.seen.record().media)
	}
	if st := l.pool.Stats(); st.Sessions != 0 || st.PeerConnections != 0 {
		t.Errorf("left: %+v", st)
	}
}

// cut cuts the network and waits until that is told.
func (c *call) cut(generation uint64, want rtcpool.Restart, times int) {
	c.lab.t.Helper()
	c.sfu.Network().Cut()
	c.lost(generation, want, times)
}

// lost waits until the loss of a generation was told, and checks that it was told once for each time.
func (c *call) lost(generation uint64, want rtcpool.Restart, times int) {
	c.lab.t.Helper()
	c.seen.until(c.lab.t, "a failed connection", func() bool { return len(c.seen.restarts) >= times })
	c.seen.mu.Lock()
	defer c.seen.mu.Unlock()
	states := c.seen.states[generation]
	if n := len(states); n < 2 || states[n-2] != rtcpool.StateDisconnected || states[n-1] != rtcpool.StateFailed {
		c.lab.t.Errorf("states: %v", states)
	}
	if got := c.seen.restarts[len(c.seen.restarts)-1]; got.ICE != want.ICE || got.MinGeneration != want.MinGeneration || got.Reason == "" ||
		len(c.seen.restarts) != times {
		c.lab.t.Errorf("restarts: %+v", c.seen.restarts)
	}
}
