package rtcpool

import (
	"fmt"
	"strings"
	"testing"
)

// An SFU that opens its data channels first, and offers media later on the same connection.
func TestS6_DataChannelsFirst(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	if _, err := f.pc.CreateDataChannel("events", nil); err != nil {
		t.Fatal(err)
	}
	answer := f.negotiate(s, 0)
	if !strings.Contains(answer.SDP, "m=application 9 ") || len(answer.Rejected) != 0 {
		t.Errorf("rejected %v:\n%s", answer.Rejected, answer.SDP)
	}
	r.until(t, "a connection without media", func() bool {
		states := r.states[1]
		return len(states) > 0 && states[len(states)-1] == StateConnected && len(r.media) == 0
	})
	f.add(vp8, "cam", "alice")
	f.add(opus, "mic", "alice")
	f.negotiate(s, 0)
	for _, track := range []string{"cam", "mic"} {
		morePackets(t, r.flowing(t, track).Track, 20)
	}
	if told := r.told(); len(told.media) != 2 || p.Stats().PeerConnections != 1 {
		t.Errorf("media %+v", told.media)
	}
}

// A call with more than a hundred participants: every media description is answered and known, and those who speak are heard.
func TestS6_HundredMediaDescriptionsAndMore(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	const n = 120
	for i := range n {
		codec := opus
		if i%3 == 0 {
			codec = vp8
		}
		if i%40 == 0 {
			f.add(codec, fmt.Sprint("track-", i), fmt.Sprint("participant-", i))
		} else {
			f.addQuiet(codec, fmt.Sprint("track-", i), fmt.Sprint("participant-", i))
		}
	}
	answer := f.negotiate(s, 0)
	if got := strings.Count(answer.SDP, "\r\nm="); got != n || len(answer.Rejected) != 0 {
		t.Errorf("%d media descriptions, rejected %v", got, answer.Rejected)
	}
	for i := range n {
		m := r.byTrack(t, fmt.Sprint("track-", i))
		if m.StreamID != fmt.Sprint("participant-", i) || m.MID != fmt.Sprint(i) || !m.Active {
			t.Errorf("%+v", m)
		}
		if i%40 == 0 {
			morePackets(t, r.flowing(t, m.TrackID).Track, 20)
		}
	}
	if told := r.told(); len(told.added) != n {
		t.Errorf("%d media", len(told.added))
	}
}
