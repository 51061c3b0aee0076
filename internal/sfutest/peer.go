package sfutest

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
)

// peer is a sending peer connection and its goroutines.
type peer struct {
	pc     *webrtc.PeerConnection
	ctx    context.Context // ends when close begins
	cancel context.CancelFunc
	work   sync.WaitGroup // pacers and RTCP readers
	// connected is closed when media can flow for the first time.
	connected     chan struct{}
	connectedOnce sync.Once
}

// newPeer returns a peer that has candidates on the loopback interface only.
func newPeer() (*peer, error) {
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		return nil, fmt.Errorf("register codecs: %w", err)
	}
	registry := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(engine, registry); err != nil {
		return nil, fmt.Errorf("register interceptors: %w", err)
	}
	// After the others, so that it numbers a packet before the NACK responder keeps it: it would write into the kept
	// headers, of which several goroutines of the responder send at one time. A packet sent again has its first number.
	if err := webrtc.ConfigureTWCCHeaderExtensionSender(engine, registry); err != nil {
		return nil, fmt.Errorf("configure transport-wide sequence numbers: %w", err)
	}
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	api := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(settings))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, fmt.Errorf("create a peer connection: %w", err)
	}
	p := &peer{pc: pc, connected: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			p.connectedOnce.Do(func() { close(p.connected) })
		}
	})
	return p, nil
}

// offer returns an offer that holds every candidate.
func (p *peer) offer(ctx context.Context, options *webrtc.OfferOptions) (string, error) {
	description, err := p.pc.CreateOffer(options)
	if err != nil {
		return "", fmt.Errorf("create an offer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(description); err != nil {
		return "", fmt.Errorf("apply the offer: %w", err)
	}
	select {
	case <-gathered:
		return p.pc.LocalDescription().SDP, nil
	case <-ctx.Done():
		return "", fmt.Errorf("gather candidates: %w", ctx.Err())
	}
}

// answer applies the other side's answer.
func (p *peer) answer(sdp string) error {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}); err != nil {
		return fmt.Errorf("apply the answer: %w", err)
	}
	return nil
}

// add gives the track a media description: one that an earlier track of its kind left, or a new one.
func (p *peer) add(local webrtc.TrackLocal) (*webrtc.RTPSender, error) {
	for _, t := range p.pc.GetTransceivers() {
		if t.Kind() == local.Kind() && t.Direction() == webrtc.RTPTransceiverDirectionInactive {
			return p.pc.AddTrack(local)
		}
	}
	t, err := p.pc.AddTransceiverFromTrack(local, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return nil, err
	}
	return t.Sender(), nil
}

// close ends the peer connection and waits for every goroutine.
func (p *peer) close() error {
	p.cancel()
	err := p.pc.GracefulClose()
	p.work.Wait()
	return err
}

// capability is what pion needs to know to find the payload type of a clip's codec.
func capability(c clips.Clip) webrtc.RTPCodecCapability {
	out := webrtc.RTPCodecCapability{MimeType: c.MimeType(), ClockRate: c.ClockRate}
	switch c.Codec {
	case clips.H264:
		out.SDPFmtpLine = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
	case clips.Opus:
		out.Channels = 2 // RFC 7587 section 7: always 2 in a=rtpmap
		out.SDPFmtpLine = "minptime=10;useinbandfec=1"
	}
	return out
}
