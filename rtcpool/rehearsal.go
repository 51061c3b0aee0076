package rtcpool

import (
	"context"
	"errors"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// rehearse tries an offer on a peer connection that is thrown away. pion finds some faults only when it has taken half of an
// offer, and takes nothing back: a connection with running streams must not learn of them first.
// What is tried has no candidates, opens no socket and sends nothing.
func (w *network) rehearse(o *offer) (err error) {
	engine := &webrtc.MediaEngine{}
	if err := errors.Join(registerCodecs(engine), registerExtensions(engine)); err != nil {
		return err
	}
	settings := webrtc.SettingEngine{LoggerFactory: w.logs}
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	n := w.newPeerNet(context.Background(), nil)
	defer w.leave(n)
	settings.SetNet(n)
	certificate, err := w.certs.at(time.Now())
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
