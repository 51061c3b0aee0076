package rtcpool

import (
	"time"

	"github.com/pion/rtcp"
)

// keyFrameFloor is the shortest time between two requests for one media, or for one encoding of it, whatever asks.
const keyFrameFloor = 250 * time.Millisecond

// keyFrameRequest is one request on its way to the sender.
type keyFrameRequest struct {
	ssrc uint32
	fir  bool
	seq  uint8 // of a FIR
}

// packet returns a PLI (RFC 4585 section 6.3.1) or a FIR (RFC 5104 section 4.3.1).
func (k keyFrameRequest) packet(sender uint32) rtcp.Packet {
	if k.fir {
		return &rtcp.FullIntraRequest{SenderSSRC: sender, FIR: []rtcp.FIREntry{{SSRC: k.ssrc, SequenceNumber: k.seq}}}
	}
	return &rtcp.PictureLossIndication{SenderSSRC: sender, MediaSSRC: k.ssrc}
}

// requestKeyFrame asks the sender for a key frame: by PLI if that was negotiated, else by FIR, each a new command with the next
// number, or not at all. It is safe for concurrent use and never blocks; a request that comes too soon, or before the
// source is known, is held back: media asks again while it has none.
func (s *seat) requestKeyFrame() {
	e := s.of
	stats := e.peer.stats()
	terms := e.feedback()
	if !terms.PLI && !terms.FIR {
		stats.keyFrameRequestsUnknown.Add(1)
		return
	}
	ssrc := s.ssrc()
	now := e.peer.feedback.now()
	next := s.nextRequest.Load()
	if ssrc == 0 || now < time.Duration(next) || !s.nextRequest.CompareAndSwap(next, int64(now+keyFrameFloor)) {
		stats.keyFrameRequestsHeld.Add(1)
		return
	}
	k := keyFrameRequest{ssrc: ssrc, fir: !terms.PLI}
	if k.fir {
		k.seq = uint8(s.fullIntra.Add(1)) //nolint:gosec // the wrap is wanted
	}
	select {
	case e.peer.feedback.keyFrames <- k:
		stats.keyFrameRequests.Add(1)
	default:
		stats.keyFrameRequestsHeld.Add(1)
	}
}
