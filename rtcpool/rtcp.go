package rtcpool

import (
	"github.com/pion/rtcp"
)

// runRTCP reads the RTCP of a track: it must be drained, and its sender reports tell when packets were captured.
func (r *reader) runRTCP() {
	buf := make([]byte, receiveMTU)
	rid := r.track.RID()
	for {
		var n int
		var err error
		if rid == "" {
			n, _, err = r.receiver.Read(buf)
		} else {
			n, _, err = r.receiver.ReadSimulcast(buf, rid)
		}
		if err != nil {
			return
		}
		r.handleRTCP(buf[:n])
	}
}

func (r *reader) handleRTCP(compound []byte) {
	packets, err := rtcp.Unmarshal(compound)
	if err != nil {
		return // a peer's fault; the next one may be better
	}
	e := r.sink.Load()
	if e == nil {
		return
	}
	for _, packet := range packets {
		if report, ok := packet.(*rtcp.SenderReport); ok && report.SSRC == uint32(r.track.SSRC()) {
			e.track.WriteSenderReport(report.NTPTime, report.RTPTime)
		}
	}
}

// sendKeyFrameRequests sends a PLI (RFC 4585 section 6.3.1) for each that is asked for.
func (p *peer) sendKeyFrameRequests() {
	for {
		select {
		case <-p.ctx.Done():
			return
		case ssrc := <-p.keyFrames:
			if err := p.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}}); err != nil {
				p.session.log.Debug("asking for a key frame", "ssrc", ssrc, "error", err)
			}
		}
	}
}
