package rtcpool

import (
	"sync/atomic"
	"testing"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// dropper loses one packet of a number on its way, once, and repeats nothing.
type dropper struct {
	interceptor.NoOp
	seq  uint16
	lost atomic.Bool
}

func (d *dropper) NewInterceptor(string) (interceptor.Interceptor, error) { return d, nil }

func (d *dropper) BindLocalStream(_ *interceptor.StreamInfo, w interceptor.RTPWriter) interceptor.RTPWriter {
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		if h.SequenceNumber == d.seq && d.lost.CompareAndSwap(false, true) {
			return len(payload), nil
		}
		return w.Write(h, payload, a)
	})
}

// A lost packet comes again although no media packet follows: the reader looks for it by itself.
func TestS16_RetransmissionComesWithoutAFurtherPacket(t *testing.T) {
	lossy := &dropper{seq: 1003}
	responder, err := nack.NewResponderInterceptor()
	if err != nil {
		t.Fatal(err)
	}
	registry := &interceptor.Registry{}
	registry.Add(lossy)
	registry.Add(responder)
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t, webrtc.WithInterceptorRegistry(registry))
	source := f.addQuiet(webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeVP8, ClockRate: 90000, RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}},
	}, "screen", "alice")
	f.negotiate(s, 0)
	r.until(t, "connected", func() bool {
		states := r.states[1]
		return len(states) > 0 && states[len(states)-1] == StateConnected
	})
	screen := r.byTrack(t, "screen")
	waitFor(t, "the SFU is connected", func() bool { return f.pc.ConnectionState() == webrtc.PeerConnectionStateConnected })
	for n := uint16(1000); n <= 1005; n++ {
		if err := source.write(n); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the lost packet", func() bool { return screen.Track.Stats().Packets == 6 })
	if !lossy.lost.Load() {
		t.Error("nothing was lost")
	}
}
