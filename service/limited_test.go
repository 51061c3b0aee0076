package service

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	rtpcodecs "github.com/pion/rtp/codecs"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
)

// occupy keeps the gateway's only decode worker from decoding, for as long as nobody calls what is returned: it waits for somebody who is told that a
// consumer stalled.
func (g *gateway) occupy(still []byte) (free func()) {
	g.t.Helper()
	occupied, freed := make(chan struct{}), make(chan struct{})
	var once, again sync.Once
	free = func() { again.Do(func() { close(freed) }) }
	track := media.NewTrack(media.TrackConfig{Kind: media.KindVideo, Pool: g.decoders, Logger: g.svc.cfg.Logger})
	g.t.Cleanup(func() { track.End(media.EndClosed) })
	g.t.Cleanup(free)
	track.SetParameters(media.ReceiveParameters{Codecs: []media.CodecParameters{{Codec: media.CodecVP8, PayloadType: 96, ClockRate: 90000}}})
	c, err := track.Subscribe(media.Request{Queue: media.Queue{MaxBytes: 1, Overflow: media.Disconnect}, Stalled: func() {
		once.Do(func() { close(occupied) })
		<-freed
	}})
	must(g.t, err)
	g.t.Cleanup(c.Close)
	packetizer := rtp.NewPacketizer(1200, 96, 1, &rtpcodecs.VP8Payloader{}, rtp.NewRandomSequencer(), 90000)
	for range 2 {
		for _, p := range packetizer.Packetize(still, 9000) {
			raw, err := p.Marshal()
			must(g.t, err)
			track.WriteRTP(raw, time.Now())
		}
	}
	select {
	case <-occupied:
	case <-g.ctx.Done():
		g.t.Fatal("the worker is not occupied")
	}
	return free
}

// limited reads until the stream tells of a limit, and returns it.
func (r *reader) limited() *penstockv1.QualityLimited {
	r.t.Helper()
	for {
		if q := r.next().GetEvent().GetQualityLimited(); q != nil {
			return q
		}
	}
}

// TestF6_QualityLimitedIsToldOverGRPC keeps the decoder busy with something else. The stream is told that half the size is asked for, since what waits
// cannot be decoded in time; when there is room again, that it is over, and pictures go on.
func TestF6_QualityLimitedIsToldOverGRPC(t *testing.T) {
	g := startGatewayWith(t, media.NewDecodePool(1))
	g.create("call")
	still := keyFrame(t, "plain-640x360.ivf")
	g.publishStill("call", still)
	r := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera), Policy: roomy()})
	last := r.video().GetInfo()
	free := g.occupy(still)
	q := r.limited()
	if got := fmt.Sprint(q.GetLimited(), q.GetSuspended(), q.GetMaxWidth(), q.GetMaxHeight(), q.GetReason()); got != "true false 320 180 QUALITY_LIMIT_REASON_CPU" {
		t.Errorf("told %s", got)
	}
	free()
	for q.GetLimited() { // on a busy machine it may become worse first
		q = r.limited()
	}
	if q.GetSuspended() || q.GetMaxFps() != 0 || q.GetMaxWidth() != 0 || q.GetReason() != penstockv1.QualityLimitReason_QUALITY_LIMIT_REASON_UNSPECIFIED {
		t.Errorf("at the end it is told %v", q)
	}
	if next := r.video().GetInfo(); next.GetSequence() <= last.GetSequence() || next.GetPresentationTimeNs() <= last.GetPresentationTimeNs() {
		t.Errorf("%v follows %v", next, last)
	}
}
