package rtcpool

import (
	"time"

	"github.com/pion/rtcp"
)

// estimate takes note of a packet for which REMB was negotiated. sent is its abs-send-time or nil.
func (f *feedback) estimate(sent []byte, size int, now time.Duration) {
	if f.remb.Packet(sent, size, now) {
		f.by(now)
	}
}

// sendBandwidth sends REMB when it is due, on the media for which it was negotiated.
func (f *feedback) sendBandwidth(readers []*reader, now time.Duration) {
	ssrcs, expected, received := rembSources(readers)
	if len(ssrcs) == 0 {
		return
	}
	if bits, ok := f.remb.Conclude(expected, received, now); ok {
		f.peer.stats().rembs.Add(1)
		f.send(&rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: f.ssrc, Bitrate: float32(bits), SSRCs: ssrcs})
	}
}

// maxREMBSources is how many sources fit into a REMB.
const maxREMBSources = 255

// rembSources returns the sources to which REMB applies, and how many packets of them were expected and received.
func rembSources(readers []*reader) (ssrcs []uint32, expected, received uint32) {
	for _, r := range readers {
		if e := r.sink.Load(); e == nil || !e.feedback().REMB || len(ssrcs) == maxREMBSources {
			continue
		}
		ssrcs = append(ssrcs, uint32(r.source.SSRC()))
		r.mu.Lock()
		e, got := r.reception.Counted()
		expected, received = expected+e, received+got
		r.mu.Unlock()
	}
	return ssrcs, expected, received
}
