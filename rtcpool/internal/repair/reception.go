package repair

import (
	"time"

	"github.com/pion/rtcp"
)

// Reception is what a receiver report tells of one source (RFC 3550 section 6.4.1, appendix A.3 and A.8). Times are since an
// arbitrary start. It is not safe for concurrent use.
type Reception struct {
	started  bool
	restarts bool   // a packet was out of all order
	restart  uint16 // the number that would prove that the source began anew
	base     uint32 // the first sequence number
	highest  uint32 // with its cycles above
	received uint32
	fresh    bool // something has come since the last report

	expectedBefore, receivedBefore uint32 // at the last report

	transit time.Duration // of the packet before
	jitter  float64       // in seconds

	lastReport   uint32 // the middle of the last sender report's NTP time
	lastReportAt time.Duration
}

// maxDropout is how far ahead a packet may be for those between to count as lost (RFC 3550 appendix A.1).
const maxDropout = 3000

// Packet takes note of a packet. rate is that of its clock.
func (r *Reception) Packet(seq uint16, timestamp, rate uint32, now time.Duration) {
	if !r.started {
		r.begin(seq)
	}
	switch ahead := int(int16(seq - uint16(r.highest))); { //nolint:gosec // the wrap is wanted
	case ahead > maxDropout || ahead < -maxMisorder:
		if !r.restarts || seq != r.restart { // one alone proves nothing
			r.restarts, r.restart = true, seq+1
			return
		}
		r.begin(seq)
	case ahead > 0:
		r.highest += uint32(ahead) //nolint:gosec // it is positive
	}
	r.received++
	r.fresh = true
	if rate == 0 {
		return
	}
	transit := now - time.Duration(uint64(timestamp)*uint64(time.Second)/uint64(rate))
	if d := (transit - r.transit).Abs(); r.transit != 0 && d < time.Second { // a longer step is of the timestamps
		r.jitter += (d.Seconds() - r.jitter) / 16
	}
	r.transit = transit
}

// begin makes a source count from a packet on.
func (r *Reception) begin(seq uint16) {
	r.started, r.restarts, r.base, r.highest = true, false, uint32(seq), uint32(seq)
	r.received, r.expectedBefore, r.receivedBefore = 0, 0, 0
}

// SenderReport takes note of a sender report's NTP time.
func (r *Reception) SenderReport(ntp uint64, now time.Duration) {
	r.lastReport, r.lastReportAt = uint32(ntp>>16), now //nolint:gosec // the middle 32 bits
}

// Report returns the report block on a source. ok is false when nothing came since the last.
func (r *Reception) Report(ssrc, rate uint32, now time.Duration) (block rtcp.ReceptionReport, ok bool) {
	if !r.fresh {
		return block, false
	}
	r.fresh = false
	expected := r.highest - r.base + 1
	lost := int64(expected) - int64(r.received)
	interval, got := expected-r.expectedBefore, r.received-r.receivedBefore
	r.expectedBefore, r.receivedBefore = expected, r.received
	if interval > got {
		block.FractionLost = uint8(min(uint64(interval-got)<<8/uint64(interval), 255)) //nolint:gosec // at most 255
	}
	block.SSRC, block.LastSequenceNumber = ssrc, r.highest
	block.TotalLost = uint32(min(max(lost, 0), 0x7fffff)) //nolint:gosec // 24 bits, signed
	block.Jitter = uint32(r.jitter * float64(rate))
	if r.lastReport != 0 {
		block.LastSenderReport = r.lastReport
		block.Delay = uint32((now - r.lastReportAt).Seconds() * 65536)
	}
	return block, true
}

// Highest is the highest sequence number.
func (r *Reception) Highest() uint16 { return uint16(r.highest) } //nolint:gosec // without its cycles

// Counted returns how many packets were expected and how many came, since the source began.
func (r *Reception) Counted() (expected, received uint32) {
	if !r.started {
		return 0, 0
	}
	return r.highest - r.base + 1, r.received
}
