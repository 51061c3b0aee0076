package rtcpool

import (
	"slices"
	"time"

	"github.com/penstock-media/penstock/rtcpool/internal/network"
	"github.com/penstock-media/penstock/rtcpool/internal/repair"
	"github.com/pion/rtcp"
)

// runRTCP reads the RTCP of a track: it must be drained, and its sender reports tell when packets were captured.
func (r *reader) runRTCP() {
	buf := make([]byte, network.ReceiveMTU)
	for {
		n, err := r.source.readRTCP(buf)
		if err != nil {
			return
		}
		r.handleRTCP(buf[:n], time.Now())
	}
}

// handleRTCP takes a compound packet (RFC 3550 section 6.1). Packets that are of no use to a receiver are passed over; one that
// cannot be read spoils the compound, as there is no telling where the next begins.
func (r *reader) handleRTCP(compound []byte, received time.Time) {
	packets, err := rtcp.Unmarshal(compound)
	if err != nil {
		r.peer.stats().badRTCP.Add(1)
		return // a peer's fault; the next one may be better
	}
	ssrc := uint32(r.source.SSRC())
	for _, packet := range packets {
		switch p := packet.(type) {
		case *rtcp.SenderReport:
			if p.SSRC == ssrc {
				r.senderReport(p, received)
			}
		case *rtcp.Goodbye:
			if slices.Contains(p.Sources, ssrc) {
				r.bye()
			}
		}
	}
}

func (r *reader) senderReport(p *rtcp.SenderReport, received time.Time) {
	r.mu.Lock()
	r.reception.SenderReport(p.NTPTime, received.Sub(r.peer.feedback.start))
	r.mu.Unlock()
	if e := r.sink.Load(); e != nil {
		if s := e.seat(r); s != nil {
			s.report(p.NTPTime, p.RTPTime)
		}
	}
}

// bye handles a BYE (RFC 3550 section 6.6): the source has ended, and nothing of it is waited for or reported any more. The media
// has not: only an offer ends that, another source may follow, and some senders say BYE when they pause.
func (r *reader) bye() {
	r.peer.stats().byes.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.repair.Forget()
	r.reception = repair.Reception{}
}
