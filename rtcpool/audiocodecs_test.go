package rtcpool

import (
	"slices"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool/internal/offer"
	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
)

// chromiumAudio is how Chromium offers a microphone.
const chromiumAudio = "audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\na=rtcp-mux\r\na=sendonly\r\na=msid:s t\r\n" +
	"a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n" +
	"a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n" +
	"a=rtpmap:13 CN/8000\r\na=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\na=ssrc:1 cname:x\r\n"

// TestF21_EverythingOfAMicrophoneIsNegotiated answers Chromium's offer of a microphone: all that it offers is taken, in its order, redundancy after Opus with
// its blocks named.
func TestF21_EverythingOfAMicrophoneIsNegotiated(t *testing.T) {
	res, err := negotiateText(t, offertest.Of(chromiumAudio))
	if err != nil || res.Answer == nil {
		t.Fatal(res, err)
	}
	answer := res.Answer.SDP
	for _, line := range []string{
		"m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\n", "a=rtpmap:63 red/48000/2\r\n", "a=fmtp:63 111/111\r\n",
		"a=rtpmap:13 CN/8000\r\n", "a=rtpmap:110 telephone-event/48000\r\n", "a=rtpmap:126 telephone-event/8000\r\n", "a=rtpmap:9 G722/8000\r\n",
	} {
		if !strings.Contains(answer, line) {
			t.Errorf("the answer lacks %q:\n%s", line, answer)
		}
	}
	terms := offer.ReadTerms(answer)["0"]
	var got []media.Codec
	for _, c := range terms.Receive.Codecs {
		got = append(got, c.Codec)
	}
	want := []media.Codec{
		media.CodecOpus, media.CodecRED, media.CodecG722, media.CodecPCMU, media.CodecPCMA, media.CodecComfortNoise, media.CodecTelephoneEvent, media.CodecTelephoneEvent,
	}
	if !slices.Equal(got, want) {
		t.Errorf("received are %v, want %v", got, want)
	}
	for pt, want := range map[uint8]media.Codec{111: media.CodecOpus, 63: media.CodecOpus, 9: media.CodecG722, 13: media.CodecUnknown, 110: media.CodecUnknown} {
		if codec, carries := terms.Carried(pt); codec != want || carries != (want != media.CodecUnknown) {
			t.Errorf("payload type %d carries %v, %v", pt, codec, carries)
		}
	}
}

// TestF21_CompanionsAloneAreNoMicrophone refuses what offers noise and keys only, and takes telephones that offer numbers without names.
func TestF21_CompanionsAloneAreNoMicrophone(t *testing.T) {
	keys := "audio 9 UDP/TLS/RTP/SAVPF 13 126\r\na=rtcp-mux\r\na=sendonly\r\na=rtpmap:13 CN/8000\r\na=rtpmap:126 telephone-event/8000\r\n"
	telephone := "audio 9 UDP/TLS/RTP/SAVPF 0 8 9\r\na=rtcp-mux\r\na=sendonly\r\n"
	res, err := negotiateText(t, offertest.Of(keys, telephone))
	if err != nil || res.Answer == nil {
		t.Fatal(res, err)
	}
	if !strings.Contains(res.Answer.SDP, "m=audio 0 ") || !strings.Contains(res.Answer.SDP, "m=audio 9 UDP/TLS/RTP/SAVPF 0 8 9\r\n") {
		t.Errorf("the answer is\n%s", res.Answer.SDP)
	}
}
