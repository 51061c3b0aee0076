package repair

import (
	"testing"
	"time"
)

func TestReceptionReports(t *testing.T) {
	var r Reception
	if _, ok := r.Report(7, 90000, 0); ok {
		t.Error("reported before the first packet")
	}
	now := time.Duration(0)
	for i := range 100 { // of which each tenth is lost, over the wrap
		now += 10 * ms
		if i%10 != 5 {
			r.Packet(uint16(65500+i), uint32(900*i), 90000, now)
		}
	}
	r.SenderReport(0x1122334455667788, now-500*ms)
	b, ok := r.Report(7, 90000, now)
	if !ok || b.SSRC != 7 || b.TotalLost != 10 || b.LastSequenceNumber != 65599 || b.FractionLost != 25 {
		t.Errorf("%+v", b)
	}
	if b.LastSenderReport != 0x33445566 || b.Delay != 32768 || b.Jitter != 0 {
		t.Errorf("%+v", b)
	}
	if _, ok := r.Report(7, 90000, now); ok {
		t.Error("a silent source is reported on")
	}
	for i := range 100 { // every other packet 20 ms late
		now += 10 * ms
		r.Packet(uint16(65600+i), uint32(900*(100+i)), 90000, now+time.Duration(i%2)*20*ms)
	}
	if b, _ = r.Report(7, 90000, now); b.FractionLost != 0 || b.TotalLost != 10 || b.Jitter < 1500 || b.Jitter > 1800 {
		t.Errorf("%+v", b)
	}
	for range 1000 { // duplicates are no negative loss
		r.Packet(uint16(65699&0xffff), 0, 90000, now)
	}
	if b, _ = r.Report(7, 90000, now); b.FractionLost != 0 || b.TotalLost != 0 {
		t.Errorf("%+v", b)
	}
}

// A source that begins anew at some other number has lost nothing (RFC 3550 appendix A.1), and a strange packet is no new beginning.
func TestReceptionOfASourceThatBeginsAnew(t *testing.T) {
	for _, at := range []uint16{20000, 1100 + maxDropout, 60000, 64000} {
		var r Reception
		feed := func(from uint16, n int) {
			for i := range n {
				r.Packet(from+uint16(i), 0, 90000, 0)
			}
		}
		r.SenderReport(1<<32, 0)
		feed(1000, 10)
		feed(at, 1) // one that does not belong here
		feed(1010, 10)
		b, _ := r.Report(7, 90000, 0)
		if b.TotalLost != 0 || b.FractionLost != 0 || b.LastSequenceNumber != 1019 {
			t.Errorf("a strange packet at %d: %+v", at, b)
		}
		feed(at, 10)
		feed(at+11, 10) // one is lost
		b, ok := r.Report(7, 90000, 0)
		if !ok || b.TotalLost != 1 || b.FractionLost != 256/20 || b.LastSequenceNumber != uint32(at)+20 || b.LastSenderReport != 1<<16 {
			t.Errorf("anew at %d: %+v", at, b)
		}
	}
	var r Reception
	r.Packet(1000, 0, 90000, 0)
	r.Packet(1000+maxDropout, 0, 90000, 0)
	if b, _ := r.Report(7, 90000, 0); b.TotalLost != maxDropout-1 || b.FractionLost != 255 {
		t.Errorf("the longest gap: %+v", b)
	}
}
