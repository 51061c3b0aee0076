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
	var h264 []string
	for _, mode := range []string{"1", "0"} {
		for _, profile := range []string{"42e01f", "42001f", "4d001f", "64001f", "640c1f"} {
			h264 = append(h264, "level-asymmetry-allowed=1;packetization-mode="+mode+";profile-level-id="+profile)
		}
	}
	return []receivable{
		{codec: media.CodecOpus, clock: 48000, chans: 2, fmtps: []string{""}},
		{codec: media.CodecPCMU, clock: 8000, fmtps: []string{""}},
		{codec: media.CodecPCMA, clock: 8000, fmtps: []string{""}},
		{codec: media.CodecG722, clock: 8000, fmtps: []string{""}}, // it samples at 16 kHz: RFC 3551 section 4.5.2
		{codec: media.CodecVP8, clock: 90000, fmtps: []string{""}},
		{codec: media.CodecH264, clock: 90000, fmtps: h264},
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

// hasKnownCodec tells whether a media description offers a codec of its kind that can be received, in a form that pion
// takes: it would answer one of which it takes nothing with formats that nobody offered.
func hasKnownCodec(m *sdp.MediaDescription, kind media.Kind) bool {
	one := &sdp.SessionDescription{MediaDescriptions: []*sdp.MediaDescription{m}}
	for _, format := range readableFormats(m) {
		pt, err := strconv.ParseUint(format, 10, 7)
		if err != nil {
			continue
		}
		if c, err := one.GetCodecForPayloadType(uint8(pt)); err == nil && takes(kind, c) {
			return true
		}
	}
	return false
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
	next := webrtc.PayloadType(96)
	for _, r := range receivables() {
		typ := webrtc.RTPCodecTypeAudio
		feedback := []webrtc.RTCPFeedback{{Type: "transport-cc"}, {Type: "goog-remb"}, {Type: "nack"}}
		if r.codec.Kind() == media.KindVideo {
			typ = webrtc.RTPCodecTypeVideo
			feedback = append(feedback, webrtc.RTCPFeedback{Type: "ccm", Parameter: "fir"},
				webrtc.RTCPFeedback{Type: "nack", Parameter: "pli"})
		}
		for _, fmtp := range r.fmtps {
			capability := webrtc.RTPCodecCapability{
				MimeType: r.codec.Kind().String() + "/" + r.codec.String(), ClockRate: r.clock, Channels: r.chans,
				SDPFmtpLine: fmtp, RTCPFeedback: feedback,
			}
			if err := engine.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: capability, PayloadType: next}, typ); err != nil {
				return err
			}
			next++
			if typ != webrtc.RTPCodecTypeVideo {
				continue
			}
			rtx := webrtc.RTPCodecCapability{
				MimeType: webrtc.MimeTypeRTX, ClockRate: r.clock, SDPFmtpLine: fmt.Sprintf("apt=%d", next-1),
			}
			if err := engine.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: rtx, PayloadType: next}, typ); err != nil {
				return err
			}
			next++
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
