package rtcpool

import (
	"fmt"
	"io"

	"github.com/penstock-media/penstock/rtcpool/internal/network"
	"github.com/penstock-media/penstock/rtcpool/internal/offer"
	"github.com/pion/interceptor"
	"github.com/pion/stun/v4"
	"github.com/pion/transport/v4/packetio"
	"github.com/pion/webrtc/v4"
)

// iceServers gives servers to pion. Errors: ErrConfig.
func iceServers(servers []ICEServer) ([]webrtc.ICEServer, error) {
	out := make([]webrtc.ICEServer, 0, len(servers))
	for _, s := range servers {
		for _, text := range s.URLs {
			uri, err := stun.ParseURI(text)
			if err != nil {
				return nil, fmt.Errorf("%w: ICE server %q: %w; write it like turn:turn.example.org:3478?transport=udp", ErrConfig, text, err)
			}
			if (uri.Scheme == stun.SchemeTypeTURN || uri.Scheme == stun.SchemeTypeTURNS) && (s.Username == "" || s.Credential == "") {
				return nil, fmt.Errorf("%w: ICE server %q needs a username and a credential", ErrConfig, text)
			}
		}
		out = append(out, webrtc.ICEServer{URLs: s.URLs, Username: s.Username, Credential: s.Credential})
	}
	return out, nil
}

// bufferFactory makes the buffers between SRTP and who reads a source.
type bufferFactory func(kind packetio.BufferPacketType, ssrc uint32) io.ReadWriteCloser

// newPeerConnection makes a peer connection on its own part of the network.
func (p *Pool) newPeerConnection(
	n *network.Peer, cfg *SessionConfig, buffers bufferFactory, interceptors ...interceptor.Factory,
) (*webrtc.PeerConnection, error) {
	api, err := p.newAPI(n, buffers, interceptors...)
	if err != nil {
		return nil, err
	}
	conf, err := p.configuration(cfg)
	if err != nil {
		return nil, err
	}
	n.SetServers(conf.ICEServers)
	return api.NewPeerConnection(conf)
}

// newAPI returns pion's API as the gateway uses it. One serves one peer connection: interceptors are built for each.
func (p *Pool) newAPI(n *network.Peer, buffers bufferFactory, interceptors ...interceptor.Factory) (*webrtc.API, error) {
	engine, err := offer.NewMediaEngine()
	if err != nil {
		return nil, err
	}
	registry := &interceptor.Registry{}
	for _, factory := range interceptors {
		registry.Add(factory)
	}
	settings, err := p.network.Settings(n)
	if err != nil {
		return nil, err
	}
	settings.BufferFactory = buffers
	return webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry),
		webrtc.WithSettingEngine(settings)), nil
}

func (p *Pool) configuration(cfg *SessionConfig) (webrtc.Configuration, error) {
	conf := webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle}
	if cfg.RelayOnly {
		conf.ICETransportPolicy = webrtc.ICETransportPolicyRelay
	}
	certificate, err := p.network.Certificate()
	if err != nil {
		return conf, err
	}
	conf.Certificates = []webrtc.Certificate{certificate}
	conf.ICEServers, err = iceServers(cfg.ICEServers)
	return conf, err
}

// relayRefused is called when a TURN server refuses to refresh an allocation of a running peer connection: its credentials
// have expired. Media go on until the allocation ends, half its lifetime later; the offerer is asked for a restart in time.
func (s *Session) relayRefused(code int) {
	s.log.Warn("a TURN server refuses to refresh an allocation; replace the ICE servers and restart ICE", "code", code)
	select {
	case s.relayLost <- struct{}{}:
	default:
	}
}

// tellRelayLost asks the offerer for an ICE restart.
func (s *Session) tellRelayLost() {
	if s.current != nil {
		s.needRestart(s.current, Restart{
			ICE: true, MinGeneration: s.current.generation,
			Reason: "a TURN server refuses to refresh its relay: replace the ICE servers, then restart ICE",
		})
	}
}
