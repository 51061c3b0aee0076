package rtcpool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/rtcpool/internal/offer"
	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// What pion would refuse half-way is left out of what it is given, so that the same generation goes on.
func TestS17_BadAttributesDoNotWedgeAGeneration(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	f.negotiate(s, 0)
	cam := r.flowing(t, "cam")
	for _, bad := range []string{
		"a=extmap:x y\r\n", "a=extmap:1 :%zz\r\n", "a=fmtp:97 apt=x\r\n",
		"a=ssrc-group:SIM 1 2 3\r\n", "a=rtpmap:x y\r\n", "a=rtcp-fb:x\r\n", "a=rid:\r\n", "a=simulcast:send\r\n", "a=candidate:x\r\n",
	} {
		f.add(opus, bad[:6], "alice")
		text := f.offer(nil)
		f.accept(mustAnswer(t, s, strings.Replace(text, "a=mid:0\r\n", bad+"a=mid:0\r\n", 1)))
	}
	morePackets(t, cam.Track, 20)
	f.add(opus, "last", "alice")
	f.negotiate(s, 0)
	r.flowing(t, "last")
	if n := p.Stats().Failed; n != 0 {
		t.Errorf("%d failed", n)
	}
}

func TestS6_AnOfferOfSeveralSourcesIsAnswered(t *testing.T) {
	if res, err := negotiateText(t, offertest.Of(offertest.Video+"a=ssrc:1 cname:c\r\na=ssrc:2 cname:c\r\n")); err != nil || res.Answer == nil {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestAnOfferWithoutADirectionIsAnswered(t *testing.T) {
	bare := strings.ReplaceAll(offertest.Audio, "a=sendonly\r\n", "")
	res, err := negotiateText(t, offertest.Of(bare))
	if err != nil || res.Answer == nil || !strings.Contains(res.Answer.SDP, "a=recvonly") {
		t.Errorf("%+v, %v", res, err)
	}
}

// An offer that pion took half: what runs goes on, and the next full offer mends it on the same generation.
func TestS17_HalfAppliedOffer(t *testing.T) {
	t.Parallel()
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	f.negotiate(s, 0)
	cam := r.flowing(t, "cam")
	for i := range 3 {
		name := fmt.Sprint("next", i)
		f.add(vp8, name, "alice")
		text := f.offer(nil)
		takeHalf(t, s, text)
		morePackets(t, cam.Track, 20)
		f.accept(mustAnswer(t, s, text))
		r.flowing(t, name)
		if now, ok := s.Media(cam.ID); !ok || now != cam {
			t.Errorf("was %+v, is %+v", cam, now)
		}
		morePackets(t, cam.Track, 20)
	}
	if told := r.told(); len(told.restarts) != 0 || p.Stats().Failed != 0 {
		t.Errorf("restarts %+v, %+v", told.restarts, p.Stats())
	}
}

// The first offer of a generation, half applied: there is no answer of before to fall back on, and the next offer mends it all the same.
func TestS17_HalfAppliedFirstOffer(t *testing.T) {
	t.Parallel()
	s, r := open(t, newTestPool(t, nil), "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	text := f.offer(nil)
	made := make(chan error, 1)
	if _, err := s.do(context.Background(), func() {
		p, err := s.newPeer(1, nil)
		s.current = p
		made <- err
	}); err != nil {
		t.Fatal(err)
	}
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	takeHalf(t, s, text)
	f.exchange(s, 1, text)
	r.flowing(t, "cam")
	if told := r.told().restarts; len(told) != 0 {
		t.Errorf("asked for %+v", told)
	}
}

// takeHalf gives pion an offer and does not answer it.
func takeHalf(t *testing.T, s *Session, text string) {
	t.Helper()
	taken := make(chan error, 1)
	_, err := s.do(context.Background(), func() {
		taken <- s.current.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: text})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
}

// A fault that only pion sees, as if it had been overlooked here: the connection with running streams never learns of it.
func TestS17_WhatOnlyPionRefuses(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	f.negotiate(s, 0)
	cam := r.flowing(t, "cam")
	text := f.offer(nil)
	for i, line := range []string{"extmap:1 :%zz", "extmap:x y", "mid:"} {
		o, err := offer.Parse(withVersion(t, text, versionOf(t, text)+uint64(i)+1), defaultMaxSDPBytes) //nolint:gosec // small
		if err != nil {
			t.Fatal(err)
		}
		key, value, _ := strings.Cut(line, ":")
		o.Desc.MediaDescriptions[0].Attributes = append([]sdp.Attribute{{Key: key, Value: value}}, o.Desc.MediaDescriptions[0].Attributes...)
		var failed *NegotiationError
		_, err = s.submit(context.Background(), &negotiation{ctx: context.Background(), offer: o})
		if !errors.As(err, &failed) || failed.Step != "trying the offer" {
			t.Errorf("%s: %v", line, err)
		}
		state := make(chan webrtc.SignalingState, 1)
		if _, err := s.do(context.Background(), func() { state <- s.current.pc.SignalingState() }); err != nil {
			t.Fatal(err)
		}
		if now := <-state; now != webrtc.SignalingStateStable {
			t.Errorf("%s: %v", line, now)
		}
	}
	f.accept(mustAnswer(t, s, text))
	f.add(opus, "mic", "alice")
	f.negotiate(s, 0)
	r.flowing(t, "mic")
	morePackets(t, cam.Track, 20)
	if now, ok := s.Media(cam.ID); !ok || now != cam {
		t.Errorf("was %+v, is %+v", cam, now)
	}
}
