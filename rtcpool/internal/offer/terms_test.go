package offer

import (
	"slices"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/media"
	"github.com/pion/sdp/v3"
)

const termsHead = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:a\r\n" +
	"a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96;rtx-time=3000\r\n"

func TestTermsOfFeedback(t *testing.T) {
	const transportCC = "a=extmap:5 " + sdp.TransportCCURI + "\r\n"
	const sendTime = "a=extmap:6 " + sdp.ABSSendTimeURI + "\r\n"
	repairs := [128]uint8{97: 96 | 0x80}
	for _, c := range []struct {
		lines string
		want  Feedback
		kept  []string
	}{
		{"", Feedback{}, nil},
		{"a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 ccm fir\r\n", Feedback{NACK: true, PLI: true, FIR: true},
			[]string{"96 nack", "96 nack pli", "96 ccm fir"}},
		{"a=rtcp-fb:* goog-remb\r\na=rtcp-fb:* transport-cc\r\n" + transportCC + sendTime, Feedback{TransportCC: 5, AbsSendTime: 6}, []string{"* transport-cc"}},
		{"a=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 transport-cc\r\n" + sendTime, Feedback{REMB: true, AbsSendTime: 6}, []string{"96 goog-remb"}},
		{"a=rtcp-fb:96 goog-remb\r\n" + transportCC, Feedback{REMB: true}, []string{"96 goog-remb"}},
		{"a=rtcp-fb:96\r\na=rtcp-fb:96 nack sli\r\n", Feedback{}, []string{"96", "96 nack sli"}},
	} {
		got := ReadTerms(termsHead + c.lines)["a"]
		c.want.repairs, c.want.Separate = repairs, true
		if got.Feedback != c.want {
			t.Errorf("%q: %+v", c.lines, got.Feedback)
		}
		if pt, ok := got.Feedback.Original(97); !ok || pt != 96 {
			t.Errorf("97 repairs %d, %v", pt, ok)
		}
		if _, ok := got.Feedback.Original(96); ok {
			t.Error("96 is no retransmission")
		}
		desc := &sdp.SessionDescription{}
		if err := desc.UnmarshalString(termsHead + c.lines); err != nil {
			t.Fatal(err)
		}
		promiseOneFeedback(desc.MediaDescriptions[0])
		var kept []string
		for _, a := range desc.MediaDescriptions[0].Attributes {
			if a.Key == "rtcp-fb" {
				kept = append(kept, strings.TrimSpace(a.Value))
			}
		}
		if !slices.Equal(kept, c.kept) {
			t.Errorf("%q: the answer keeps %q, want %q", c.lines, kept, c.kept)
		}
	}
}

func TestReceiveParametersAreRead(t *testing.T) {
	text := "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=mid:a\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 stereo=1\r\n" +
		"a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=extmap:3/recvonly http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time\r\n"
	got := ReadTerms(text)["a"].Receive
	if len(got.Codecs) != 2 || got.Codecs[0] != (media.CodecParameters{Codec: media.CodecOpus, PayloadType: 111, ClockRate: 48000, Channels: 2, Fmtp: "stereo=1"}) ||
		got.Codecs[1].Codec != media.CodecPCMU || got.Codecs[1].ClockRate != 8000 {
		t.Errorf("codecs: %+v", got.Codecs)
	}
	if got.Extensions != (media.HeaderExtensions{AudioLevel: 1, AbsCaptureTime: 3}) {
		t.Errorf("extensions: %+v", got.Extensions)
	}
}
