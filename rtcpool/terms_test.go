package rtcpool

import (
	"slices"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

const termsHead = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:a\r\n" +
	"a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96;rtx-time=3000\r\n"

func TestTermsOfFeedback(t *testing.T) {
	const transportCC = "a=extmap:5 " + sdp.TransportCCURI + "\r\n"
	const sendTime = "a=extmap:6 " + sdp.ABSSendTimeURI + "\r\n"
	repairs := [128]uint8{97: 96 | 0x80}
	for _, c := range []struct {
		lines string
		want  feedbackTerms
		kept  []string
	}{
		{"", feedbackTerms{}, nil},
		{"a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 ccm fir\r\n", feedbackTerms{nack: true, pli: true, fir: true},
			[]string{"96 nack", "96 nack pli", "96 ccm fir"}},
		{"a=rtcp-fb:* goog-remb\r\na=rtcp-fb:* transport-cc\r\n" + transportCC + sendTime, feedbackTerms{transportCC: 5, absSendTime: 6}, []string{"* transport-cc"}},
		{"a=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 transport-cc\r\n" + sendTime, feedbackTerms{remb: true, absSendTime: 6}, []string{"96 goog-remb"}},
		{"a=rtcp-fb:96 goog-remb\r\n" + transportCC, feedbackTerms{remb: true}, []string{"96 goog-remb"}},
		{"a=rtcp-fb:96\r\na=rtcp-fb:96 nack sli\r\n", feedbackTerms{}, []string{"96", "96 nack sli"}},
	} {
		got := readTerms(&webrtc.SessionDescription{SDP: termsHead + c.lines})["a"]
		c.want.repairs, c.want.separate = repairs, true
		if got.feedback != c.want {
			t.Errorf("%q: %+v", c.lines, got.feedback)
		}
		if pt, ok := got.feedback.original(97); !ok || pt != 96 {
			t.Errorf("97 repairs %d, %v", pt, ok)
		}
		if _, ok := got.feedback.original(96); ok {
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
