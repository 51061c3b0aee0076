package rtcpool_test

import (
	"fmt"
	"testing"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/rtcpool"
)

// TestS1_LateOffersHarmNobody offers, in 100 rounds, to a session that has just been closed: every offer is dropped as a normal result with
// a reason, a line in the debug log and a count, and 20 other live streams of the process lose no packet meanwhile.
func TestS1_LateOffersHarmNobody(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var calls []*call
	var tracks [][]*sfutest.Track
	var streams []*listener
	for i := range 4 {
		c := l.call(fmt.Sprint("other-", i), fewCodecs)
		var five []*sfutest.Track
		for k := range 5 {
			five = append(five, c.track(fmt.Sprint("voice-", k), microphone, clips.AliceMicrophone()))
		}
		for _, m := range c.add(five...) {
			streams = append(streams, encoded(t, m.Track))
		}
		calls, tracks = append(calls, c), append(tracks, five)
	}
	const rounds = 100
	for i := range rounds {
		late := l.call(fmt.Sprint("late-", i), fewCodecs)
		mic := late.track("alice", microphone, clips.AliceMicrophone())
		if i%2 == 0 { // the others are closed before their first offer
			late.add(mic)
		}
		offer, err := late.sfu.Offer(l.ctx)
		must(t, err)
		late.session.Close()
		for range 2 {
			r, err := late.session.Negotiate(l.ctx, rtcpool.Offer{Generation: 1, SDP: offer})
			if err != nil || r.Answer != nil || r.Drop == nil || r.Drop.Reason != rtcpool.DropClosed {
				t.Fatalf("round %d: %+v, %v", i, r, err)
			}
		}
		must(t, late.sfu.Close())
		if i%10 == 9 {
			streams[i%len(streams)].more(1)
		}
	}
	if n := l.pool.Stats().DroppedClosed; n != 2*rounds {
		t.Errorf("%d drops counted, want %d", n, 2*rounds)
	}
	if n := l.log.count("level=DEBUG", "offer dropped", "reason=closed", "late-"); n != 2*rounds {
		t.Errorf("%d drops in the debug log, want %d", n, 2*rounds)
	}
	if n := l.log.count("level=WARN") + l.log.count("level=ERROR"); n != 0 {
		t.Errorf("%d warnings and errors in the log", n)
	}
	for _, s := range streams {
		s.more(5)
	}
	for i, c := range calls {
		c.account(tracks[i]...)
	}
	for _, s := range streams {
		s.whole(960)
	}
	if s := l.pool.Stats(); s.Sessions != 4 || s.PeerConnections != 4 {
		t.Errorf("left: %+v", s)
	}
}
