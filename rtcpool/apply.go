package rtcpool

import (
	"context"
	"errors"
	"fmt"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

var errWedged = errors.New("an earlier offer was half applied and cannot be taken back; offer on a new generation")

// contradicts tells what an offer says that cannot follow the one before: a mid is of one type of media as long as it is
// taken (RFC 9429 section 5.2.2).
func (s *Session) contradicts(n *negotiation) error {
	p := s.current
	if p == nil || p.last == nil || n.generation != p.generation || p.state == StateClosed {
		return nil
	}
	before := make(map[string]string, len(p.last.sections))
	for _, f := range p.last.sections {
		if f.accepted() {
			before[f.mid] = f.name.Media
		}
	}
	for _, f := range n.offer.sections {
		if was, ok := before[f.mid]; ok && was != f.name.Media {
			return &SDPError{
				Where: fmt.Sprintf("m-line %d", f.index),
				What:  fmt.Sprintf("was of type %q and is of type %q; a media description that is used again needs a new a=mid", was, f.name.Media),
			}
		}
	}
	return nil
}

// apply gives an offer to pion and sets its answer. The step is named for the error.
func (p *peer) apply(o *offer) (step string, err error) {
	p.keepPauses(o)
	p.limitCandidates(o)
	text, err := o.sdp()
	if err != nil {
		return "writing the offer", err
	}
	if p.last != nil && p.last.ufrag != o.ufrag { // ICE restarts, and gathers anew
		p.renewServers()
		p.gathered.take()
	}
	before := p.strays.offered.Swap(o.sources)
	defer func() {
		if err != nil {
			p.strays.offered.Store(before)
		}
	}()
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: text}); err != nil {
		return "applying the offer", err
	}
	answer, err := p.pc.CreateAnswer(&webrtc.AnswerOptions{OfferAnswerOptions: webrtc.OfferAnswerOptions{ICETricklingSupported: true}})
	if err != nil {
		return "creating the answer", err
	}
	if err := p.pc.SetLocalDescription(answer); err != nil {
		return "applying the answer", err
	}
	p.noteSources(o)
	return "", nil
}

// unwedge takes a peer connection out of the middle of an offer that could not be applied whole. pion cannot take an offer
// back, but it can be told that the answer of before answers this one too: then the next full offer says what holds. Until
// then nothing is touched, so that what runs goes on. When not even that works, a new generation is asked for.
func (s *Session) unwedge(p *peer) error {
	if p.pc.SignalingState() != webrtc.SignalingStateHaveRemoteOffer {
		return nil
	}
	if err := p.pc.SetLocalDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer}); err != nil {
		s.needRestart(p, Restart{MinGeneration: p.generation + 1, Reason: "an offer was half applied and cannot be taken back"})
		return fmt.Errorf("%w: %w", errWedged, err)
	}
	return nil
}

// rehearse tries an offer on a peer connection that is thrown away. pion finds some faults only when it has taken half of an
// offer, and takes nothing back: a connection with running streams must not learn of them first.
// What is tried has no candidates, opens no socket and sends nothing.
func (p *Pool) rehearse(o *offer) (err error) {
	engine := &webrtc.MediaEngine{}
	if err := errors.Join(registerCodecs(engine), registerExtensions(engine)); err != nil {
		return err
	}
	n := p.network.NewPeer(context.Background(), nil)
	defer n.Leave()
	settings := p.network.BareSettings(n)
	certificate, err := p.network.Certificate()
	if err != nil {
		return err
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(settings)).NewPeerConnection(
		webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle, Certificates: []webrtc.Certificate{certificate}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pc.GracefulClose()) }()
	text, err := o.withoutCandidates().sdp()
	if err != nil {
		return err
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: text}); err != nil {
		return err
	}
	_, err = pc.CreateAnswer(nil)
	return err
}

// withoutCandidates returns a copy of the offer for pion.
func (o *offer) withoutCandidates() *offer {
	desc := *o.desc
	desc.MediaDescriptions = nil
	for _, m := range o.desc.MediaDescriptions {
		bare := *m
		bare.Attributes = nil
		for _, a := range m.Attributes {
			if a.Key != sdp.AttrKeyCandidate && a.Key != sdp.AttrKeyEndOfCandidates {
				bare.Attributes = append(bare.Attributes, a)
			}
		}
		desc.MediaDescriptions = append(desc.MediaDescriptions, &bare)
	}
	return &offer{desc: &desc}
}
