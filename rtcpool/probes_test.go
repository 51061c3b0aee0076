package rtcpool

import (
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// Senders probe the path with retransmissions of padding, and of packets that have come: nothing of it reaches the media, not even as late.
func TestRetransmissionsThatNobodyAskedForAreLeftOut(t *testing.T) {
	live := newIdle(t)
	e, pool := live.video.sink.Load(), live.session.pool
	packet := func(seq uint16, pt uint8, payload []byte, padding byte) []byte {
		p := &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: pt, SSRC: 2, SequenceNumber: seq, Marker: true, Timestamp: 3000 * uint32(seq)}, Payload: payload}
		p.Padding, p.PaddingSize = padding > 0, padding
		return rtpBytes(t, p)
	}
	key := []byte{0x10, 0x50, 0, 0, 0x9d, 1, 0x2a, 16, 0, 16, 0, 1, 2, 3} // a VP8 payload
	for _, seq := range []uint16{10, 11, 13} {
		live.video.packet(packet(seq, 96, key, 0), time.Now())
	}
	again := func(original byte) []byte { return packet(500, 97, append([]byte{0, original}, key...), 0) }
	for _, raw := range [][]byte{again(10), again(11), packet(501, 97, nil, 200), packet(502, 97, []byte{1}, 0), packet(503, 99, []byte{0, 12, 1}, 0)} {
		live.video.retransmission(raw, time.Now())
	}
	if s := e.track.Stats(); s.Packets != 3 || s.Late != 0 || s.Duplicate != 0 {
		t.Errorf("%+v", s)
	}
	if s := pool.Stats(); s.UnwantedRetransmissions != 5 || s.RepairedPackets != 0 {
		t.Errorf("%+v", s)
	}
	live.video.retransmission(again(12), time.Now())
	live.video.retransmission(again(12), time.Now())
	if s := e.track.Stats(); s.Packets != 4 || s.Units != 4 || s.Lost != 0 {
		t.Errorf("with the one that was missing: %+v", s)
	}
	if s := pool.Stats(); s.UnwantedRetransmissions != 6 || s.RepairedPackets != 1 {
		t.Errorf("%+v", s)
	}
}

// A sender that goes on retransmitting under the name of the codec before is understood; one that says rightly that a
// packet is of the codec before, too.
func TestS19_RetransmissionsAreOfTheCodecAroundThem(t *testing.T) {
	live := newIdle(t)
	packet := func(pt uint8, seq uint16, payload ...byte) []byte {
		return rtpBytes(t, &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: pt, SSRC: 2, SequenceNumber: seq}, Payload: payload})
	}
	feed := func(pt uint8, seqs ...uint16) {
		for _, seq := range seqs {
			live.video.packet(packet(pt, seq, 1, 2, 3), time.Now())
		}
	}
	feed(96, 10, 12, 13)
	feed(102, 15, 16, 18, 19)
	feed(116, 20, 22) // which was not negotiated
	for _, c := range []struct {
		of        byte
		in, means uint8
	}{{11, 103, 96}, {14, 97, 96}, {17, 97, 102}, {21, 103, 102}} {
		raw := packet(c.in, 500, 0, c.of, 1, 2, 3)
		live.video.retransmission(raw, time.Now()) // makes the original in its place
		if got := raw[1] & 0x7f; got != c.means {
			t.Errorf("packet %d, sent again as %d, is taken for %d; want %d", c.of, c.in, got, c.means)
		}
	}
}

// What is numbered for congestion control is told of, whatever becomes of it: probes without a source, retransmissions for
// media of which nothing has come, and packets that belong to nothing.
func TestS20_ProbesAndStrangersAreToldOf(t *testing.T) {
	live := newIdle(t)
	f := live.audio.peer.feedback
	numbered := func(ssrc uint32, pt uint8, number byte) []byte {
		p := &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: pt, SSRC: ssrc, Padding: true, PaddingSize: 9}}
		if err := p.SetExtension(2, []byte{7, number}); err != nil {
			t.Fatal(err)
		}
		return rtpBytes(t, p)
	}
	repairs := &retransmissions{}
	repairs.feedback.Store(f)
	read := func(info interceptor.StreamInfo, raw []byte) {
		r := repairs.BindRemoteStream(&info, interceptor.RTPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
			return copy(b, raw), a, nil
		}))
		if n, _, err := r.Read(make([]byte, 1500), nil); n != len(raw) || err != nil {
			t.Errorf("read %d bytes, %v; want them left to pion", n, err)
		}
	}
	read(interceptor.StreamInfo{}, numbered(0, 111, 0))
	read(interceptor.StreamInfo{SSRC: 77, MimeType: "video/rtx"}, numbered(77, 97, 1))
	nobodys := newReader(live.audio.peer, &quiet{9}, live.audio.kind)
	nobodys.packet(numbered(9, 111, 2), time.Now())
	nobodys.retransmission(numbered(109, 97, 3), time.Now())
	f.arrivals.mu.Lock()
	told := f.arrivals.recorder.BuildFeedbackPacket()
	f.arrivals.mu.Unlock()
	if len(told) != 1 {
		t.Fatalf("%d packets of feedback", len(told))
	}
	if cc := told[0].(*rtcp.TransportLayerCC); cc.BaseSequenceNumber != 7<<8 || cc.PacketStatusCount != 4 || len(cc.RecvDeltas) != 4 {
		t.Errorf("%+v", cc)
	}
}
