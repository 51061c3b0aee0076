package rtcpool

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-media/penstock/rtcpool/internal/offer"
	"github.com/pion/webrtc/v4"
)

// maxTransceivers bounds the mids that one peer connection has had. From half of it on a new generation is asked for.
const maxTransceivers = 2048

var errWorn = errors.New("too many media descriptions came and went; offer on a new generation")

// contradicts tells what an offer says that cannot follow the one before: a mid is of one type of media as long as it is
// taken (RFC 9429 section 5.2.2).
func (s *Session) contradicts(n *negotiation) error {
	p := s.current
	if p == nil || p.last == nil || n.generation != p.generation || p.state == StateClosed {
		return nil
	}
	before := make(map[string]string, len(p.last.Sections))
	for _, f := range p.last.Sections {
		if f.Accepted() {
			before[f.MID] = f.Name.Media
		}
	}
	for _, f := range n.offer.Sections {
		if was, ok := before[f.MID]; ok && was != f.Name.Media {
			return &SDPError{
				Where: fmt.Sprintf("m-line %d", f.Index),
				What:  fmt.Sprintf("was of type %q and is of type %q; a media description that is used again needs a new a=mid", was, f.Name.Media),
			}
		}
	}
	return nil
}

// apply gives an offer to pion and sets its answer. The step is named for the error.
func (p *peer) apply(o *offer.Offer) (step string, err error) {
	o.KeepPauses(p.sourceLines)
	p.limitCandidates(o)
	text, err := o.SDP()
	if err != nil {
		return "writing the offer", err
	}
	if p.last != nil && p.last.Ufrag != o.Ufrag { // ICE restarts, and gathers anew
		p.renewServers()
		p.gathered.take()
	}
	p.expectCuts()
	before := p.strays.offered.Swap(o.Sources)
	defer func() {
		if err != nil {
			p.endExpectation()
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
	p.sourceLines = o.SourceLines()
	return "", nil
}

// hasRoom refuses an offer with more new mids than a peer connection may ever have had: pion keeps a transceiver for each. Well
// before a new generation is asked for. What runs goes on.
func (s *Session) hasRoom(p *peer, o *offer.Offer) error {
	known := make(map[string]struct{})
	transceivers := p.pc.GetTransceivers()
	for _, t := range transceivers {
		known[t.Mid()] = struct{}{}
	}
	fresh := 0
	for i := range o.Sections {
		if _, ok := known[o.Sections[i].MID]; !ok && o.Sections[i].Accepted() {
			fresh++
		}
	}
	mids := len(transceivers) + fresh
	if mids > maxTransceivers/2 {
		s.needRestart(p, Restart{MinGeneration: p.generation + 1, Reason: "too many media descriptions came and went"})
	}
	if fresh > 0 && mids > maxTransceivers {
		return errWorn
	}
	return nil
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
		return fmt.Errorf("an earlier offer was half applied and cannot be taken back; offer on a new generation: %w", err)
	}
	return nil
}

// rehearse tries an offer on a peer connection that is thrown away. pion finds some faults only when it has taken half of an
// offer, and takes nothing back: a connection with running streams must not learn of them first.
// What is tried has no candidates, opens no socket and sends nothing.
func (p *Pool) rehearse(o *offer.Offer) (err error) {
	engine, err := offer.NewMediaEngine()
	if err != nil {
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
	text, err := o.WithoutCandidates().SDP()
	if err != nil {
		return err
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: text}); err != nil {
		return err
	}
	_, err = pc.CreateAnswer(nil)
	return err
}
