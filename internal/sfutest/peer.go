package sfutest

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
)

// peer is a sending peer connection and its goroutines.
type peer struct {
	generation uint64
	pc         *webrtc.PeerConnection
	api        *webrtc.API
	ctx        context.Context // ends when close begins
	cancel     context.CancelFunc
	work       sync.WaitGroup // pacers and RTCP readers
	// connected is closed when media can flow for the first time.
	connected     chan struct{}
	connectedOnce sync.Once
	inbox         inbox
	// hearers are the pacers that hear of what comes for a sender; guarded by the owner.
	hearers map[*webrtc.RTPSender]*atomic.Pointer[pacer]
	mux     io.Closer // the sockets
}

// maxChecks is how often a pair is checked before it is given up: pion's 7 are over in less time than a busy machine may stall.
const maxChecks = 100

// newPeer returns a peer that has candidates on the loopback interface only, on a socket of its network.
func newPeer(cfg *Config, generation uint64) (*peer, error) {
	engine, registry, err := newEngine(cfg)
	if err != nil {
		return nil, err
	}
	conn, err := cfg.Network.listen()
	if err != nil {
		return nil, err
	}
	// What pion has to say is about faults that were asked for.
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	mux := webrtc.NewICEUDPMux(quiet.NewLogger("ice"), conn)
	settings := webrtc.SettingEngine{LoggerFactory: quiet}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetICEUDPMux(mux)
	settings.SetLite(cfg.ICELite)
	settings.SetICEMaxBindingRequests(maxChecks)
	// The gateway's first checks come before its answer, so that it is known by an address that no candidate has told yet. pion would wait a second for a better one.
	settings.SetPrflxAcceptanceMinWait(0)
	api := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(settings))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		_ = mux.Close() // what failed before is the error to tell
		return nil, fmt.Errorf("create a peer connection: %w", err)
	}
	p := &peer{generation: generation, pc: pc, api: api, connected: make(chan struct{}), mux: mux, hearers: map[*webrtc.RTPSender]*atomic.Pointer[pacer]{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			p.connectedOnce.Do(func() { close(p.connected) })
		}
	})
	return p, nil
}

// newEngine returns codecs, header extensions and interceptors of a sender.
func newEngine(cfg *Config) (*webrtc.MediaEngine, *interceptor.Registry, error) {
	engine := &webrtc.MediaEngine{}
	register := registerCodecs
	if cfg.FewCodecs {
		register = registerFewCodecs
	}
	if err := register(engine); err != nil {
		return nil, nil, fmt.Errorf("register codecs: %w", err)
	}
	audio, video := webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo
	for _, x := range []struct {
		uri   string
		kinds []webrtc.RTPCodecType
	}{
		{uriMID, []webrtc.RTPCodecType{audio, video}}, {uriAudioLevel, []webrtc.RTPCodecType{audio}},
		{uriOrientation, []webrtc.RTPCodecType{video}}, {uriAbsCaptureTime, []webrtc.RTPCodecType{audio, video}},
	} {
		for _, kind := range x.kinds {
			if err := engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: x.uri}, kind); err != nil {
				return nil, nil, fmt.Errorf("register header extensions: %w", err)
			}
		}
	}
	registry := &interceptor.Registry{}
	if add := cfg.Interceptors; add != nil {
		if err := add(engine, registry); err != nil {
			return nil, nil, fmt.Errorf("add interceptors: %w", err)
		}
	}
	if err := webrtc.RegisterDefaultInterceptors(engine, registry); err != nil {
		return nil, nil, fmt.Errorf("register interceptors: %w", err)
	}
	// After the others, so that it numbers a packet before the NACK responder keeps it: it would write into the kept
	// headers, of which several goroutines of the responder send at one time. A packet sent again has its first number.
	if err := webrtc.ConfigureTWCCHeaderExtensionSender(engine, registry); err != nil {
		return nil, nil, fmt.Errorf("configure transport-wide sequence numbers: %w", err)
	}
	return engine, registry, nil
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

// answer applies the other side's answer, and the candidates that came before it.
func (p *peer) answer(sdp string) error {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}); err != nil {
		return fmt.Errorf("apply the answer: %w", err)
	}
	return p.inbox.open(p.pc)
}

// add gives the track a media description: one that an earlier track of its kind left, or a new one.
func (p *peer) add(track webrtc.TrackLocal) (*webrtc.RTPSender, error) {
	for _, t := range p.pc.GetTransceivers() {
		if t.Kind() == track.Kind() && t.Direction() == webrtc.RTPTransceiverDirectionInactive {
			return p.pc.AddTrack(track)
		}
	}
	t, err := p.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return nil, err
	}
	return t.Sender(), nil
}

// swap puts a new sender, with sources of its own, in the place of another.
func (p *peer) swap(old *webrtc.RTPSender, track webrtc.TrackLocal) (*webrtc.RTPSender, error) {
	for _, t := range p.pc.GetTransceivers() {
		if t.Sender() != old {
			continue
		}
		if err := old.Stop(); err != nil {
			return nil, err
		}
		sender, err := p.api.NewRTPSender(track, old.Transport())
		if err != nil {
			return nil, err
		}
		return sender, t.SetSender(sender, track)
	}
	return nil, ErrUnknownTrack
}

// mid is that of the media description which has the sender; empty before the first offer.
func (p *peer) mid(sender *webrtc.RTPSender) string {
	for _, t := range p.pc.GetTransceivers() {
		if t.Sender() == sender {
			return t.Mid()
		}
	}
	return ""
}

// close ends the peer connection and waits for every goroutine.
func (p *peer) close() error {
	p.cancel()
	err := p.pc.GracefulClose()
	if muxErr := p.mux.Close(); err == nil {
		err = muxErr
	}
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
