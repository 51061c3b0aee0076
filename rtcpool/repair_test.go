package rtcpool

import (
	"sync/atomic"
	"testing"
	"time"

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

func TestMissing(t *testing.T) {
	now := time.Unix(1, 0)
	var m missing
	m.received(65534, now)
	if m.any(now) {
		t.Error("nothing is missing of one packet")
	}
	m.received(1, now) // 65535 and 0 are missing
	if !m.any(now) || m.n != 2 {
		t.Errorf("%d missing", m.n)
	}
	m.received(0, now)
	m.received(0, now)
	if m.n != 1 {
		t.Errorf("%d missing", m.n)
	}
	m.received(65535, now)
	if m.any(now) {
		t.Error("all have come")
	}
	m.received(3, now)
	if m.any(now.Add(2 * holePatience)) {
		t.Error("still waited for")
	}
	m.received(3+maxHoles+2, now)
	if m.any(now) {
		t.Error("a hole too long to be mended is waited for")
	}
	for seq := uint16(1000); seq < 3000; seq += 2 {
		m.received(seq, now)
	}
	if m.n > maxHoles || !m.any(now) {
		t.Errorf("%d missing", m.n)
	}
}
