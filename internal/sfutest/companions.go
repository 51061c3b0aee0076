package sfutest

import (
	"fmt"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/webrtc/v4"
)

// Payload types that browsers give to what goes along with Opus.
const (
	opusPayload = 111 // pion's too
	redPayload  = 63
	keysAt48k   = 110
	keysAt8k    = 126
)

// redundant is RED (RFC 2198) to pion.
var redundant = webrtc.RTPCodecCapability{MimeType: "audio/red", ClockRate: 48000, Channels: 2, SDPFmtpLine: "111/111"}

// companions are what browsers offer beside the codecs of a microphone.
func companions() []webrtc.RTPCodecParameters {
	keys := func(payloadType webrtc.PayloadType, clock uint32) webrtc.RTPCodecParameters {
		return webrtc.RTPCodecParameters{
			PayloadType:        payloadType,
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "audio/telephone-event", ClockRate: clock},
		}
	}
	return []webrtc.RTPCodecParameters{
		{PayloadType: redPayload, RTPCodecCapability: redundant},
		{PayloadType: 13, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "audio/CN", ClockRate: 8000}},
		keys(keysAt48k, 48000), keys(keysAt8k, 8000),
	}
}

// registerCodecs registers what pion has by itself, and the companions of a microphone.
func registerCodecs(engine *webrtc.MediaEngine) error {
	if err := engine.RegisterDefaultCodecs(); err != nil {
		return err
	}
	for _, c := range companions() {
		if err := engine.RegisterCodec(c, webrtc.RTPCodecTypeAudio); err != nil {
			return err
		}
	}
	return nil
}

// registerFewCodecs registers one format of each codec that clips have most.
func registerFewCodecs(engine *webrtc.MediaEngine) error {
	feedback := []webrtc.RTCPFeedback{{Type: "goog-remb"}, {Type: "ccm", Parameter: "fir"}, {Type: "nack"}, {Type: "nack", Parameter: "pli"}}
	opus := webrtc.RTPCodecParameters{PayloadType: opusPayload, RTPCodecCapability: capability(clips.AliceMicrophone())}
	if err := engine.RegisterCodec(opus, webrtc.RTPCodecTypeAudio); err != nil {
		return err
	}
	for _, c := range []struct {
		clip              clips.Clip
		payload, repaired webrtc.PayloadType
	}{{clips.AliceCamera(), 96, 97}, {clips.BobCamera(), 106, 107}} {
		codec := webrtc.RTPCodecParameters{PayloadType: c.payload, RTPCodecCapability: capability(c.clip)}
		codec.RTCPFeedback = feedback
		again := webrtc.RTPCodecParameters{PayloadType: c.repaired, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeRTX, ClockRate: c.clip.ClockRate, SDPFmtpLine: fmt.Sprint("apt=", c.payload),
		}}
		for _, p := range []webrtc.RTPCodecParameters{codec, again} {
			if err := engine.RegisterCodec(p, webrtc.RTPCodecTypeVideo); err != nil {
				return err
			}
		}
	}
	return nil
}

// spoken are the packets of Opus before.
type spoken struct {
	payloads   [2][]byte // the last, and the one before
	timestamps [2]uint32
}

// again returns a packet with so many of those before beside it (RFC 2198 section 3), and remembers it; with none of them it is as it was.
func (s *spoken) again(payload []byte, timestamp uint32, previous int) []byte {
	out := payload
	if previous > 0 {
		var headers, blocks []byte
		for i := min(previous, len(s.payloads)) - 1; i >= 0; i-- {
			b, before := s.payloads[i], timestamp-s.timestamps[i]
			if len(b) == 0 || len(b) > 1023 || before >= 1<<14 {
				continue
			}
			word := before<<10 | uint32(len(b)) //nolint:gosec // at most 1023
			headers = append(headers, 0x80|opusPayload, byte(word>>16), byte(word>>8), byte(word))
			blocks = append(blocks, b...)
		}
		out = append(append(append(headers, opusPayload), blocks...), payload...)
	}
	s.payloads[1], s.timestamps[1] = s.payloads[0], s.timestamps[0]
	s.payloads[0], s.timestamps[0] = payload, timestamp
	return out
}
