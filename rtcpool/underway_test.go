package rtcpool_test

import (
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// TestS8_PacketsUnderWayAcrossAnICERestartArrive restarts ICE while packets are under way on a long path: the SFU sent them to
// the pair of before, and each is received.
func TestS8_PacketsUnderWayAcrossAnICERestartArrive(t *testing.T) {
	t.Parallel()
	c := newLab(t).call("call", fewCodecs)
	mic, cam := c.track("alice", microphone, clips.AliceMicrophone()), c.track("bob", camera, clips.BobCamera())
	media := c.add(mic, cam)
	audio, video := encoded(t, media[0].Track), encoded(t, media[1].Track)
	c.sfu.Network().SetOut(sfutest.Link{Match: sfutest.IsRTP, Delay: 200 * time.Millisecond, InOrder: true})
	for range 8 {
		audio.more(12)
		must(t, c.sfu.Renegotiate(c.lab.ctx, true))
	}
	audio.more(15)
	video.more(15)
	c.account(mic, cam)
}
