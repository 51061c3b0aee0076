package rtcpool

import (
	"testing"
	"time"
)

func TestReceptionReports(t *testing.T) {
	var r reception
	if _, ok := r.report(7, 90000, 0); ok {
		t.Error("reported before the first packet")
	}
	now := time.Duration(0)
	for i := range 100 { // of which each tenth is lost, over the wrap
		now += 10 * ms
		if i%10 != 5 {
			r.packet(uint16(65500+i), uint32(900*i), 90000, now)
		}
	}
	r.senderReport(0x1122334455667788, now-500*ms)
	b, ok := r.report(7, 90000, now)
	if !ok || b.SSRC != 7 || b.TotalLost != 10 || b.LastSequenceNumber != 65599 || b.FractionLost != 25 {
		t.Errorf("%+v", b)
	}
	if b.LastSenderReport != 0x33445566 || b.Delay != 32768 || b.Jitter != 0 {
		t.Errorf("%+v", b)
	}
	if _, ok := r.report(7, 90000, now); ok {
		t.Error("a silent source is reported on")
	}
	for i := range 100 { // every other packet 20 ms late
		now += 10 * ms
		r.packet(uint16(65600+i), uint32(900*(100+i)), 90000, now+time.Duration(i%2)*20*ms)
	}
	if b, _ = r.report(7, 90000, now); b.FractionLost != 0 || b.TotalLost != 10 || b.Jitter < 1500 || b.Jitter > 1800 {
		t.Errorf("%+v", b)
	}
	for range 1000 { // duplicates are no negative loss
		r.packet(uint16(65699&0xffff), 0, 90000, now)
	}
	if b, _ = r.report(7, 90000, now); b.FractionLost != 0 || b.TotalLost != 0 {
		t.Errorf("%+v", b)
	}
	r.packet(30000, 0, 90000, now)
	r.packet(uint16(r.highest-5000), 0, 90000, now) // begins anew
	if b, _ = r.report(7, 90000, now); b.TotalLost != 0 {
		t.Errorf("%+v", b)
	}
}
