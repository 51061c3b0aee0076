package rtcpool

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// Formats that look known but cannot be given to pion leave a media description without any: it is refused, and the
// generation goes on.
func TestS17_OnlyUnreadableFormats(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	f.negotiate(s, 0)
	cam := r.flowing(t, "cam")
	text := f.offer(nil)
	version := versionOf(t, text)
	for i, bad := range []string{
		"m=video 9 UDP/TLS/RTP/SAVPF 100\r\na=rtpmap:100 VP8/8000\r\n",
		"m=audio 9 UDP/TLS/RTP/SAVPF 100\r\na=rtpmap:100 opus/48000/6\r\n",
		"m=audio 9 UDP/TLS/RTP/SAVPF 200 100\r\na=rtpmap:200 opus/48000/2\r\n",
		"m=video 9 UDP/TLS/RTP/SAVPF 100\r\na=rtpmap:100 VP8/90000\r\na=fmtp:100 apt=999\r\n",
	} {
		bad += "c=IN IP4 0.0.0.0\r\na=mid:bad\r\na=rtcp-mux\r\na=sendonly\r\na=msid:bob x\r\na=ssrc:77 cname:c\r\n"
		offer := strings.Replace(withVersion(t, text, version+uint64(i)+1), "a=group:BUNDLE 0", "a=group:BUNDLE 0 bad", 1) + bad
		answer, err := s.Negotiate(context.Background(), Offer{SDP: offer})
		if err != nil || answer.Answer == nil {
			t.Fatalf("%+v, %v", answer, err)
		}
		if len(answer.Answer.Rejected) != 1 || answer.Answer.Rejected[0].MID != "bad" {
			t.Errorf("rejected: %+v", answer.Answer.Rejected)
		}
		if told := r.told(); len(told.media) != 1 {
			t.Errorf("media: %+v", told.media)
		}
	}
	morePackets(t, cam.Track, 20)
}

// An offer that stops every media description takes the media away, though nothing is left to answer.
func TestS11_EveryMediaDescriptionStopped(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	f.negotiate(s, 0)
	r.flowing(t, "cam")
	before := f.offer(nil)
	// Stopped media descriptions have no transport (RFC 9429 section 5.2.2), so that nothing is left that would.
	stopped := ""
	for line := range strings.Lines(withVersion(t, before, versionOf(t, before)+2)) {
		if !strings.HasPrefix(line, "a=ice-") && !strings.HasPrefix(line, "a=fingerprint:") {
			stopped += strings.Replace(line, "m=video 9 ", "m=video 0 ", 1)
		}
	}
	res, err := s.Negotiate(context.Background(), Offer{SDP: stopped})
	if err != nil || res.Answer == nil || !strings.Contains(res.Answer.SDP, "m=video 0 ") {
		t.Fatalf("%+v, %v", res, err)
	}
	if told := r.told(); len(told.media) != 0 {
		t.Errorf("media: %+v", told.media)
	}
	// What was offered before that comes too late.
	res, err = s.Negotiate(context.Background(), Offer{SDP: withVersion(t, before, versionOf(t, before)+1)})
	if err != nil || res.Drop == nil || res.Drop.Reason != DropSuperseded {
		t.Errorf("%+v, %v", res, err)
	}
}

// Addresses that ICE cannot use are refused when the pool is made, not at each offer.
func TestAnnouncedAddressesAreChecked(t *testing.T) {
	decoders := newTestPool(t, nil).cfg.Decoders
	for ip, good := range map[string]bool{
		"192.0.2.1": true, "2001:db8::1": true, "fe80::1%eth0": false, "0.0.0.0": false, "::": false, "239.1.1.1": false, "x": false,
	} {
		p, err := New(Config{Decoders: decoders, Tracer: noopTracer(), AnnouncedIPs: []string{ip}})
		if (err == nil) != good || (!good && !errors.Is(err, ErrConfig)) {
			t.Errorf("%s: %v, %v", ip, p, err)
		}
	}
}

// The connection outlives its media: what is offered after everything was stopped flows on it.
func TestS11_MediaAfterAllWereStopped(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	f.negotiate(s, 0)
	r.flowing(t, "cam")
	before := f.offer(nil)
	f.exchange(s, 0, before)
	stopped := strings.Replace(withVersion(t, before, versionOf(t, before)+1), "m=video 9 ", "m=video 0 ", 1)
	if res, err := s.Negotiate(context.Background(), Offer{SDP: stopped}); err != nil || res.Answer == nil {
		t.Fatalf("%+v, %v", res, err)
	}
	if _, err := s.RestartICE(context.Background(), "newufrag", strings.Repeat("p", 24), nil); !errors.Is(err, ErrNoOffer) {
		t.Errorf("restart of nothing: %v", err)
	}
	if c, err := s.AddCandidate(context.Background(), 0, Candidate{Candidate: "candidate:1 1 udp 1 192.0.2.9 9 typ host"}); err != nil || c != CandidateAdded {
		t.Errorf("candidate: %v, %v", c, err)
	}
	f.add(opus, "mic", "alice")
	text := f.offer(nil)
	f.accept(mustAnswer(t, s, withVersion(t, text, versionOf(t, before)+2)))
	r.flowing(t, "mic")
	if got := p.Stats().PeerConnections; got != 1 {
		t.Errorf("%d peer connections", got)
	}
}
