package sfutest

import (
	"slices"
	"strings"
	"sync"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// The header extensions (RFC 8285) that an SFU offers.
const (
	uriMID            = "urn:ietf:params:rtp-hdrext:sdes:mid"
	uriAudioLevel     = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
	uriOrientation    = "urn:3gpp:video-orientation"
	uriAbsCaptureTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
	uriTransportCC    = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
)

// local is a webrtc.TrackLocal that decides by packet on payload type, source and header extensions. It may be sent on several
// peer connections at one time.
type local struct {
	id, streamID string
	kind         webrtc.RTPCodecType

	mu       sync.Mutex
	codec    webrtc.RTPCodecCapability // wanted when it is bound
	bindings []*binding
	mids     map[uint32]string // by ssrc
}

// binding is a peer connection that the track is sent on.
type binding struct {
	id         string
	ssrc       uint32
	mid        string // empty while it is not known
	writer     webrtc.TrackLocalWriter
	codecs     []webrtc.RTPCodecParameters
	extensions map[string]uint8 // negotiated ids, by URI
	flowing    bool             // something was sent
	kept       []rtp.Packet     // not sent yet, for want of a pair
}

const (
	// maxKept bounds the packets that wait for an ICE restart.
	maxKept = 4096
	// maxBurst is how many of them are sent with a new one: many tracks at once would overflow the receive buffer of the other side.
	maxBurst = 8
)

func newLocal(c clips.Clip, trackID, streamID string) *local {
	l := &local{id: trackID, streamID: streamID, kind: webrtc.RTPCodecTypeVideo, codec: capability(c), mids: map[uint32]string{}}
	if c.IsAudio() {
		l.kind = webrtc.RTPCodecTypeAudio
	}
	return l
}

// Bind implements webrtc.TrackLocal.
func (l *local) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	b := &binding{id: c.ID(), ssrc: uint32(c.SSRC()), writer: c.WriteStream(), codecs: c.CodecParameters(), extensions: map[string]uint8{}}
	for _, x := range c.HeaderExtensions() {
		b.extensions[x.URI] = uint8(x.ID) //nolint:gosec // RFC 8285: 1 to 255
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	codec, ok := b.find(l.codec)
	if !ok {
		return codec, webrtc.ErrUnsupportedCodec
	}
	l.bindings = append(l.bindings, b)
	return codec, nil
}

// Unbind implements webrtc.TrackLocal.
func (l *local) Unbind(c webrtc.TrackLocalContext) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bindings = slices.DeleteFunc(l.bindings, func(b *binding) bool { return b.id == c.ID() })
	return nil
}

// ID implements webrtc.TrackLocal.
func (l *local) ID() string { return l.id }

// RID implements webrtc.TrackLocal.
func (l *local) RID() string { return "" }

// StreamID implements webrtc.TrackLocal.
func (l *local) StreamID() string { return l.streamID }

// Kind implements webrtc.TrackLocal.
func (l *local) Kind() webrtc.RTPCodecType { return l.kind }

// setMID tells the mid of the media description that has the source.
func (l *local) setMID(ssrc uint32, mid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mids[ssrc] = mid
}

// write sends a packet on every peer connection, and returns how many were sent on the one where most were: what it kept may go first. complete
// fills in what differs between them; false leaves one out.
func (l *local) write(payload []byte, complete func(*binding) (rtp.Header, bool)) (sent uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.bindings {
		b.mid = l.mids[b.ssrc]
		if header, ok := complete(b); ok {
			sent = max(sent, b.write(header, payload))
		}
	}
	return sent
}

// write sends what was kept and then a packet. Between an ICE restart and its new pair pion throws away what it is given, and says
// so by writing nothing, or by an error; other SFUs go on with the pair before. Here such packets are kept until there is a pair, and
// then sent a few at a time, in their order. Before the first that is sent they are lost.
func (b *binding) write(header rtp.Header, payload []byte) (sent uint64) {
	if len(b.kept) < maxKept {
		b.kept = append(b.kept, rtp.Packet{Header: header, Payload: payload})
	}
	for range maxBurst {
		if len(b.kept) == 0 {
			break
		}
		n, err := b.writer.WriteRTP(&b.kept[0].Header, b.kept[0].Payload)
		written := err == nil && n > 0
		if !written && b.flowing {
			return sent
		}
		if b.kept = b.kept[1:]; written {
			b.flowing = true
			sent++
		}
	}
	return sent
}

// find returns what was negotiated for a codec: of H.264 with packetization-mode 1 and the same profile, if possible.
func (b *binding) find(want webrtc.RTPCodecCapability) (webrtc.RTPCodecParameters, bool) {
	best, score := webrtc.RTPCodecParameters{}, 0
	for _, c := range b.codecs {
		if !strings.EqualFold(c.MimeType, want.MimeType) {
			continue
		}
		n := 1
		for _, p := range strings.Split(want.SDPFmtpLine, ";") {
			if strings.Contains(c.SDPFmtpLine, p) {
				n++
			}
		}
		if n > score {
			best, score = c, n
		}
	}
	return best, score > 0
}
