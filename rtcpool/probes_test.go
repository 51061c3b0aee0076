package rtcpool

import (
	"testing"
	"time"

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
