package rtcpool

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
	"github.com/pion/webrtc/v4"
)

// negotiateText applies an offer of a test's own making.
func negotiateText(t *testing.T, text string) (Result, error) {
	t.Helper()
	s, _ := open(t, newTestPool(t, nil), "s")
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	return s.Negotiate(ctx, Offer{SDP: text})
}

func TestBadOffersHaveErrorsOfTheirOwn(t *testing.T) {
	var bad *SDPError
	if _, err := negotiateText(t, strings.ReplaceAll(offertest.Of(offertest.Audio), "a=mid:0\r\n", "a=mid:"+strings.Repeat("x", 1000)+"\r\n")); !errors.As(err, &bad) ||
		bad.Where != "m-line 0" || err.Error() != "rtcpool: sdp: m-line 0: its a=mid is too long" {
		t.Errorf("bad mid: %v", err)
	}
	if _, err := negotiateText(t, offertest.Head); !errors.Is(err, ErrNoMedia) {
		t.Errorf("no media: %v", err)
	}
}

func TestS6_QuirksOfRealSFUs(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	f.add(opus, "mic", "alice")
	text := f.offer(nil)
	text = strings.Replace(text, "a=msid-semantic: WMS *", "a=msid-semantic:WMS*", 1)
	text = strings.Replace(text, "a=msid-semantic:WMS *", "a=msid-semantic:WMS*", 1)
	text = regexp.MustCompile(`(?m)^(a=rtcp-fb:.*)\r$`).ReplaceAllString(text, "$1  \r")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if !strings.Contains(text, "WMS*") || !strings.Contains(text, "nack  \n") {
		t.Fatalf("the offer lacks the quirks:\n%s", text)
	}
	f.exchange(s, 0, text)
	r.flowing(t, "cam")
	r.flowing(t, "mic")
}

func TestS6_DataChannelOnly(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	if _, err := f.pc.CreateDataChannel("control", nil); err != nil {
		t.Fatal(err)
	}
	f.negotiate(s, 0)
	r.until(t, "connected", func() bool {
		states := r.states[1]
		return len(states) > 0 && states[len(states)-1] == StateConnected
	})
	f.add(opus, "mic", "alice")
	f.negotiate(s, 0)
	r.flowing(t, "mic")
}

func TestS6_ManyMediaDescriptions(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	for i := range 110 {
		track, err := webrtc.NewTrackLocalStaticRTP(opus, fmt.Sprint("t", i), "s")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
			t.Fatal(err)
		}
	}
	f.add(opus, "mic", "alice")
	f.negotiate(s, 0)
	r.flowing(t, "mic")
	if n := len(r.told().media); n != 111 {
		t.Errorf("%d media", n)
	}
}

func TestS6_WhatCannotBeReceivedIsRefused(t *testing.T) {
	res, err := negotiateText(t, offertest.Of(offertest.H261, offertest.Audio, offertest.Text, offertest.Video, offertest.Data))
	if err != nil || res.Answer == nil {
		t.Fatal(res, err)
	}
	var got []string
	for line := range strings.Lines(res.Answer.SDP) {
		if strings.HasPrefix(line, "m=") {
			words := strings.Fields(line)
			got = append(got, words[0]+" "+words[1])
		}
	}
	if want := "m=video 0,m=audio 9,m=text 0,m=video 9,m=application 9"; strings.Join(got, ",") != want {
		t.Errorf("%v\n%s", got, res.Answer.SDP)
	}
	if !strings.Contains(res.Answer.SDP, "a=group:BUNDLE 1 3 4\r\n") {
		t.Errorf("bundle:\n%s", res.Answer.SDP)
	}
	if len(res.Answer.Rejected) != 2 || res.Answer.Rejected[0].Index != 0 || res.Answer.Rejected[0].MID != "0" ||
		res.Answer.Rejected[1].Index != 2 || res.Answer.Rejected[1].Reason == "" {
		t.Errorf("%+v", res.Answer.Rejected)
	}
}

// The first media description carries the bundle's transport; refusing it must not lose that.
func TestS6_TransportOfARefusedMediaDescription(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP9, ClockRate: 90000}, "no", "alice")
	f.add(opus, "mic", "alice")
	text := f.offer(nil)
	i := strings.Index(text, "m=audio")
	video, audio := text[:i], text[i:]
	video = regexp.MustCompile(`(?m)^(m=video 9 UDP/TLS/RTP/SAVPF).*\r$`).ReplaceAllString(video, "$1 98\r")
	video = regexp.MustCompile(`(?m)^a=(rtpmap|fmtp|rtcp-fb):.*\r\n`).ReplaceAllString(video, "")
	video += "a=rtpmap:98 VP9/90000\r\na=fmtp:98 profile-id=1\r\n"
	audio = regexp.MustCompile(`(?m)^a=(ice-ufrag|ice-pwd|fingerprint|candidate|end-of).*\r\n`).ReplaceAllString(audio, "")
	answer := f.exchange(s, 0, video+audio)
	if len(answer.Rejected) != 1 {
		t.Errorf("%+v", answer.Rejected)
	}
	r.flowing(t, "mic")
}

func TestAnOfferOfWhichNothingCanBeReceived(t *testing.T) {
	res, err := negotiateText(t, offertest.Of(offertest.H261, offertest.Text))
	if err != nil || res.Answer == nil || len(res.Answer.Rejected) != 2 || strings.Count(res.Answer.SDP, " 0 UDP/TLS") != 2 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestStereoIsAskedFor(t *testing.T) {
	for fmtp, want := range map[string]string{
		"": "stereo=1;useinbandfec=1",
		"a=fmtp:111 minptime=10;useinbandfec=0; stereo=0;sprop-stereo=1\r\n": "minptime=10;sprop-stereo=1;stereo=1;useinbandfec=1",
	} {
		res, err := negotiateText(t, offertest.Of(offertest.Audio+fmtp))
		if err != nil || res.Answer == nil || sdpAttribute(res.Answer.SDP, "fmtp") != "111 "+want {
			t.Errorf("%q: %+v, %v", fmtp, res.Answer, err)
		}
	}
}

func TestAnswerHasTheFeedbackThatWasOffered(t *testing.T) {
	video := "video 9 UDP/TLS/RTP/SAVPF 96 97 102 103\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n" +
		"a=rtpmap:102 H264/90000\r\na=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c34\r\n" +
		"a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n" +
		"a=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:102 nack\r\n" +
		"a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:5 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n" +
		"a=extmap:6 urn:3gpp:video-orientation\r\na=extmap:7 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay\r\na=sendonly\r\na=rtcp-mux\r\n"
	res, err := negotiateText(t, offertest.Of(video))
	if err != nil || res.Answer == nil {
		t.Fatal(res, err)
	}
	for _, want := range []string{
		"a=rtpmap:96 VP8/90000", "a=rtpmap:97 rtx/90000", "a=rtpmap:102 H264/90000", "a=rtpmap:103 rtx/90000",
		"a=rtcp-fb:96 transport-cc", "a=rtcp-fb:96 nack\r", "a=rtcp-fb:96 nack pli", "a=rtcp-fb:102 nack\r",
		"a=extmap:4 ", "a=extmap:5 ", "a=extmap:6 ", "a=recvonly", "a=ice-options:trickle",
	} {
		if !strings.Contains(res.Answer.SDP, want) {
			t.Errorf("no %q in\n%s", want, res.Answer.SDP)
		}
	}
	for _, not := range []string{"goog-remb", "playout-delay", "a=sendrecv"} {
		if strings.Contains(res.Answer.SDP, not) {
			t.Errorf("%q in\n%s", not, res.Answer.SDP)
		}
	}
}
