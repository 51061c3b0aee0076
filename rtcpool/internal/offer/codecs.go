package offer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-media/penstock/media"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// The RTP header extensions (RFC 8285) that are read.
const (
	extAudioLevel       = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
	extVideoOrientation = "urn:3gpp:video-orientation"
	extAbsCaptureTime   = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
	extDependency       = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
)

// receivable is a codec that is negotiated.
type receivable struct {
	codec media.Codec
	clock uint32
	chans uint16
	fmtps []string // each variant that is to be matched; one empty string for any
}

// receivables returns what the answer accepts. Codecs of the contract that are not here have no decoder yet.
func receivables() []receivable {
	return []receivable{
		{codec: media.CodecOpus, clock: 48000, chans: 2, fmtps: []string{""}},
		{codec: media.CodecPCMU, clock: 8000, fmtps: []string{""}},
		{codec: media.CodecPCMA, clock: 8000, fmtps: []string{""}},
		{codec: media.CodecG722, clock: 8000, fmtps: []string{""}}, // it samples at 16 kHz: RFC 3551 section 4.5.2
		{codec: media.CodecRED, clock: 48000, chans: 2, fmtps: []string{""}},
		{codec: media.CodecComfortNoise, clock: 8000, fmtps: []string{""}},
		{codec: media.CodecTelephoneEvent, clock: 48000, fmtps: []string{""}},
		{codec: media.CodecTelephoneEvent, clock: 8000, fmtps: []string{""}},
		{codec: media.CodecVP8, clock: 90000, fmtps: []string{""}},
		{codec: media.CodecVP9, clock: 90000, fmtps: []string{"profile-id=0", "profile-id=2"}},
		{codec: media.CodecH264, clock: 90000, fmtps: h264Formats()},
		{codec: media.CodecH265, clock: 90000, fmtps: []string{
			"level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST", "level-id=180;profile-id=1;tier-flag=1;tx-mode=SRST",
			"level-id=180;profile-id=2;tier-flag=0;tx-mode=SRST", "level-id=180;profile-id=2;tier-flag=1;tx-mode=SRST",
		}},
		{codec: media.CodecAV1, clock: 90000, fmtps: []string{"profile=0"}},
	}
}

// codecByName returns the receivable codec of an encoding name, or false.
func codecByName(name string) (media.Codec, bool) {
	for _, r := range receivables() {
		if strings.EqualFold(r.codec.String(), name) {
			return r.codec, true
		}
	}
	return media.CodecUnknown, false
}

// takes tells whether a codec of an a=rtpmap (RFC 8866 section 6.6) is one of the receivables. Clock and channels, where
// they are told, must be the codec's own.
func takes(kind media.Kind, c sdp.Codec) bool {
	channels, _ := strconv.Atoi(c.EncodingParameters)
	return slices.ContainsFunc(receivables(), func(r receivable) bool {
		return r.codec.Kind() == kind && strings.EqualFold(r.codec.String(), c.Name) &&
			(c.ClockRate == 0 || c.ClockRate == r.clock) && (channels == 0 || channels == int(max(r.chans, 1)))
	})
}

// NewMediaEngine returns what pion is told of the codecs and header extensions that are received.
func NewMediaEngine() (*webrtc.MediaEngine, error) {
	engine := &webrtc.MediaEngine{}
	if err := registerCodecs(engine); err != nil {
		return nil, fmt.Errorf("registering codecs: %w", err)
	}
	if err := registerExtensions(engine); err != nil {
		return nil, fmt.Errorf("registering header extensions: %w", err)
	}
	return engine, nil
}

// registerCodecs registers each receivable, and a retransmission stream (RFC 4588) beside each video codec. The payload
// types are only names inside pion: the answer uses the offer's.
func registerCodecs(engine *webrtc.MediaEngine) error {
	numbers := [...]webrtc.PayloadType{35, 96} // the dynamic ranges of RFC 5761 section 4, one for each kind
	for _, r := range receivables() {
		typ, next := webrtc.RTPCodecTypeAudio, &numbers[0]
		feedback := []webrtc.RTCPFeedback{{Type: "transport-cc"}, {Type: "goog-remb"}, {Type: "nack"}}
		if r.codec.Kind() == media.KindVideo {
			typ, next = webrtc.RTPCodecTypeVideo, &numbers[1]
			feedback = append(feedback, webrtc.RTCPFeedback{Type: "ccm", Parameter: "fir"},
				webrtc.RTCPFeedback{Type: "nack", Parameter: "pli"})
		}
		for _, fmtp := range r.fmtps {
			capability := webrtc.RTPCodecCapability{
				MimeType: r.codec.Kind().String() + "/" + r.codec.String(), ClockRate: r.clock, Channels: r.chans,
				SDPFmtpLine: fmtp, RTCPFeedback: feedback,
			}
			if err := engine.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: capability, PayloadType: *next}, typ); err != nil {
				return err
			}
			*next++
			if typ != webrtc.RTPCodecTypeVideo {
				continue
			}
			rtx := webrtc.RTPCodecCapability{
				MimeType: webrtc.MimeTypeRTX, ClockRate: r.clock, SDPFmtpLine: fmt.Sprintf("apt=%d", *next-1),
			}
			if err := engine.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: rtx, PayloadType: *next}, typ); err != nil {
				return err
			}
			*next++
		}
	}
	return nil
}

func registerExtensions(engine *webrtc.MediaEngine) error {
	both := []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo}
	for uri, kinds := range map[string][]webrtc.RTPCodecType{
		sdp.SDESMidURI:               both,
		sdp.TransportCCURI:           both,
		sdp.ABSSendTimeURI:           both,
		extAbsCaptureTime:            both,
		extAudioLevel:                both[:1],
		extVideoOrientation:          both[1:],
		extDependency:                both[1:],
		sdp.SDESRTPStreamIDURI:       both, // of audio too, so that strays are found
		sdp.SDESRepairRTPStreamIDURI: both[1:],
	} {
		for _, kind := range kinds {
			if err := engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind); err != nil {
				return err
			}
		}
	}
	return nil
}
