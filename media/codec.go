package media

import "fmt"

// Kind is the kind of an SDP media description (RFC 8866 section 5.14).
type Kind uint8

// The kinds of media.
const (
	KindUnknown Kind = iota
	KindAudio
	KindVideo
)

// String returns the kind as SDP spells it.
func (k Kind) String() string {
	switch k {
	case KindAudio:
		return "audio"
	case KindVideo:
		return "video"
	default:
		return "unknown"
	}
}

// Codec is an RTP payload format.
type Codec uint8

// The codecs that the contract knows. Which of them can be decoded is told by [Decodable].
const (
	CodecUnknown Codec = iota
	CodecOpus          // RFC 7587
	CodecPCMU          // G.711 mu-law, RFC 3551
	CodecPCMA          // G.711 A-law, RFC 3551
	CodecG722          // RFC 3551
	CodecVP8           // RFC 7741
	CodecVP9           // RFC 9628
	CodecH264          // RFC 6184
	CodecH265          // RFC 7798
	CodecAV1           // AOMedia RTP payload specification

	// What goes along with a codec of audio, and is never delivered by itself: see Codec.Companion.
	CodecRED            // redundant audio, RFC 2198: packets of the codec, and of those before
	CodecComfortNoise   // RFC 3389: how loud silence is that is not sent
	CodecTelephoneEvent // RFC 4733: keys
)

var codecNames = [...]string{
	"unknown", "opus", "PCMU", "PCMA", "G722", "VP8", "VP9", "H264", "H265", "AV1", "red", "CN", "telephone-event",
}

// String returns the encoding name as registered for SDP's a=rtpmap.
func (c Codec) String() string {
	if int(c) < len(codecNames) {
		return codecNames[c]
	}
	return fmt.Sprintf("codec(%d)", uint8(c))
}

// Kind returns whether the codec carries audio or video.
func (c Codec) Kind() Kind {
	switch {
	case c == CodecUnknown || int(c) >= len(codecNames):
		return KindUnknown
	case c <= CodecG722, c.Companion():
		return KindAudio
	default:
		return KindVideo
	}
}

// Companion tells whether it is a payload format that goes along with a codec of audio, rather than a codec itself.
func (c Codec) Companion() bool { return c >= CodecRED && c <= CodecTelephoneEvent }

// CodecParameters is one negotiated payload type: a=rtpmap and a=fmtp (RFC 8866 section 6.6, 6.15).
type CodecParameters struct {
	Codec       Codec
	PayloadType uint8
	ClockRate   uint32 // ticks a second of the RTP timestamp
	Channels    int    // of audio, as in a=rtpmap; 0 counts as 1
	Fmtp        string // the format parameters as in a=fmtp, without the payload type
}

// HeaderExtensions holds the negotiated ids (RFC 8285) of the RTP header extensions that are read; 0 is not negotiated.
type HeaderExtensions struct {
	AudioLevel       uint8 // RFC 6464
	VideoOrientation uint8 // 3GPP TS 26.114, urn:3gpp:video-orientation
	AbsCaptureTime   uint8 // http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time
	// DependencyDescriptor is https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension
	DependencyDescriptor uint8
}

// ReceiveParameters is what was negotiated for a media description.
type ReceiveParameters struct {
	Codecs     []CodecParameters
	Extensions HeaderExtensions
}
