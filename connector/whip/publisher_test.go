package whip

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-media/penstock/rtcpool"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// publisher is a real WHIP publisher: a pion peer that sends a camera and a microphone.
type publisher struct {
	t        *testing.T
	pc       *webrtc.PeerConnection
	cancel   context.CancelFunc
	work     sync.WaitGroup
	once     sync.Once
	answer   string
	location string
	tag      string
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(engine)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &publisher{t: t, pc: pc, cancel: cancel}
	t.Cleanup(p.close)
	p.send(ctx, webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000})
	p.send(ctx, webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2})
	return p
}

func (p *publisher) close() {
	p.once.Do(func() {
		p.cancel()
		if err := p.pc.GracefulClose(); err != nil {
			p.t.Error(err)
		}
		p.work.Wait()
	})
}

func (p *publisher) send(ctx context.Context, codec webrtc.RTPCodecCapability) {
	p.t.Helper()
	track, err := webrtc.NewTrackLocalStaticRTP(codec, codec.MimeType, "publisher")
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
		p.t.Fatal(err)
	}
	p.work.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := uint16(1); ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			packet := rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: n, Timestamp: uint32(n) * 450}, Payload: []byte{0x10, 1, 2}}
			if track.WriteRTP(&packet) != nil {
				return
			}
		}
	})
}

// offer makes an offer; with every candidate in it, or none.
func (p *publisher) offer(restart, candidates bool) string {
	p.t.Helper()
	o, err := p.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: restart})
	if err != nil {
		p.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(o); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-gathered:
	case <-time.After(hang):
		p.t.Fatal("the publisher does not gather")
	}
	if candidates {
		return p.pc.LocalDescription().SDP
	}
	return o.SDP
}

func (p *publisher) accept(answer string) {
	p.t.Helper()
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		p.t.Fatalf("%v\n%s", err, answer)
	}
	p.answer = answer
}

// publish posts the offer and takes the answer.
func (p *publisher) publish(s *server, path, offer string, headers ...string) reply {
	p.t.Helper()
	r := s.call(p.t, "POST", path, offer, append(headers, "Content-Type", typeSDP)...)
	if r.status != 201 {
		p.t.Fatalf("%d %s", r.status, r.body)
	}
	p.accept(r.body)
	p.location, p.tag = r.header.Get("Location"), r.header.Get("ETag")
	return r
}

// fragment is the publisher's credentials and candidates, as PATCH sends them.
func (p *publisher) fragment() string {
	var b strings.Builder
	for line := range strings.Lines(p.pc.LocalDescription().SDP) {
		for _, prefix := range []string{"m=", "a=mid:", "a=ice-", "a=candidate:", "a=end-of-candidates"} {
			if strings.HasPrefix(line, prefix) {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

// more waits until more packets have come than now.
func more(t *testing.T, m rtcpool.Media) {
	t.Helper()
	want := m.Track.Stats().Packets + 30
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(hang)
	defer limit.Stop()
	for m.Track.Stats().Packets < want {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatal("no more packets")
		}
	}
}
