package rtcpool

import (
	"encoding/binary"
	"strings"
	"sync/atomic"
	"time"

	"github.com/penstock-media/penstock/rtcpool/internal/repair"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
)

// retransmissions takes the packets of repair streams (RFC 4588) out of pion as they come. pion itself would hand each out
// only beside the next packet of the media, which on a still screen share may be a second later. It is pion's
// interceptor factory and the interceptor of one peer connection; streams that repair nothing are left alone.
type retransmissions struct {
	interceptor.NoOp
	feedback atomic.Pointer[feedback]
}

// NewInterceptor implements interceptor.Factory.
func (t *retransmissions) NewInterceptor(string) (interceptor.Interceptor, error) { return t, nil }

// BindRemoteStream implements interceptor.Interceptor. A packet that was taken reads as empty, which pion passes over.
func (t *retransmissions) BindRemoteStream(info *interceptor.StreamInfo, reader interceptor.RTPReader) interceptor.RTPReader {
	probes := info.SSRC == 0 // of padding alone; pion reads and drops them
	if !probes && !strings.EqualFold(info.MimeType, webrtc.MimeTypeRTX) {
		return reader
	}
	return interceptor.RTPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		n, a, err := reader.Read(b, a)
		if err == nil && n <= len(b) && t.take(b[:n]) {
			n = 0
		}
		return n, a, err
	})
}

// take hands a packet to the reader of the source that it repairs. ok is false while there is none.
func (t *retransmissions) take(raw []byte) (ok bool) {
	f := t.feedback.Load()
	if f == nil || len(raw) < repair.HeaderBytes {
		return false
	}
	ssrc := binary.BigEndian.Uint32(raw[8:12])
	for _, r := range f.list() {
		if ssrc != 0 && uint32(r.source.RtxSSRC()) == ssrc {
			r.retransmission(raw, time.Now())
			return true
		}
	}
	f.stranger(raw, time.Now())
	return false
}
