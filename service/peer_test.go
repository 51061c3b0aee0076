package service

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	pionmedia "github.com/pion/webrtc/v4/pkg/media"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// keyFrame returns the first picture of a VP8 clip.
func keyFrame(t *testing.T, name string) []byte {
	t.Helper()
	r, _, err := ivfreader.NewWith(bytes.NewReader([]byte(readFile(t, "testdata/"+name))))
	must(t, err)
	frame, _, err := r.ParseNextFrame()
	must(t, err)
	return frame
}

// stillPeer is a publisher whose camera sends one key frame again and again, which the test can change.
type stillPeer struct {
	picture atomic.Pointer[[]byte]
	every   time.Duration
	stop    chan struct{}
	work    sync.WaitGroup
}

// show changes the picture.
func (p *stillPeer) show(frame []byte) { p.picture.Store(&frame) }

// publishStill publishes a camera of alice that shows a still picture, ten times a second, until the test ends.
func (g *gateway) publishStill(session string, frame []byte) *stillPeer {
	g.t.Helper()
	return g.publishStillEvery(session, frame, 100*time.Millisecond)
}

// publishStillEvery does the same at another rate.
func (g *gateway) publishStillEvery(session string, frame []byte, every time.Duration) *stillPeer {
	g.t.Helper()
	pc, track := cameraPeer(g.t)
	offer := gathered(g.t, pc)
	r, err := g.sessions.Negotiate(g.ctx, &penstockv1.NegotiateRequest{SessionId: session, Sdp: offer})
	must(g.t, err)
	must(g.t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: r.GetAnswer().GetSdp()}))
	_, err = g.sessions.ReportEvents(g.ctx, &penstockv1.ReportEventsRequest{SessionId: session, Events: []*penstockv1.CallEvent{published("alice", camera)}})
	must(g.t, err)

	p := &stillPeer{every: every, stop: make(chan struct{})}
	p.show(frame)
	p.work.Go(func() { p.send(g.t, track) })
	g.t.Cleanup(func() {
		close(p.stop)
		p.work.Wait()
		must(g.t, pc.GracefulClose())
	})
	return p
}

// cameraPeer returns a peer connection that is about to send a camera, and the camera. The caller closes it.
func cameraPeer(t *testing.T) (*webrtc.PeerConnection, *webrtc.TrackLocalStaticSample) {
	t.Helper()
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	engine := &webrtc.MediaEngine{}
	must(t, engine.RegisterDefaultCodecs())
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	must(t, err)
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "still", "alice:TRACK_TYPE_VIDEO")
	must(t, err)
	_, err = pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	must(t, err)
	return pc, track
}

// gathered returns the offer with all candidates.
func gathered(t *testing.T, pc *webrtc.PeerConnection) string {
	t.Helper()
	offer, err := pc.CreateOffer(nil)
	must(t, err)
	done := webrtc.GatheringCompletePromise(pc)
	must(t, pc.SetLocalDescription(offer))
	<-done
	return pc.LocalDescription().SDP
}

// send writes the picture again and again.
func (p *stillPeer) send(t *testing.T, track *webrtc.TrackLocalStaticSample) {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			err := track.WriteSample(pionmedia.Sample{Data: *p.picture.Load(), Duration: p.every})
			if err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Error(err)
			}
		}
	}
}

// published returns the event of a publication, whose user is named "user-" and its participant.
func published(participant string, source penstockv1.Source) *penstockv1.CallEvent {
	return &penstockv1.CallEvent{Event: &penstockv1.CallEvent_TrackPublished{TrackPublished: &penstockv1.TrackPublished{
		Publication: &penstockv1.Publication{
			Participant: &penstockv1.Participant{ParticipantId: participant, UserId: "user-" + participant}, Source: source,
		},
	}}}
}
