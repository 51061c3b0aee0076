package record

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4/pkg/media/oggwriter"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// ivfClock is the time base of IVF files, in ticks a second: that of video's RTP timestamps.
const ivfClock = 90000

// ivf writes IVF: a header of 32 bytes, and 12 before each access unit.
type ivf struct {
	file   io.WriteSeeker
	w      *bufio.Writer
	start  int64
	frames uint32
}

func newIVF(w io.WriteSeeker, h *penstockv1.StreamHeader, first Frame) (writer, error) {
	fourcc, ok := map[penstockv1.Codec]string{
		penstockv1.Codec_CODEC_VP8: "VP80", penstockv1.Codec_CODEC_VP9: "VP90", penstockv1.Codec_CODEC_AV1: "AV01",
	}[h.GetCodec()]
	if !ok || first.Video == nil {
		return nil, fmt.Errorf("%w: %v in IVF", ErrCodec, h.GetCodec())
	}
	v := &ivf{file: w, w: bufio.NewWriter(w), start: first.Video.GetInfo().GetPresentationTimeNs()}
	b := make([]byte, 0, 32)
	b = append(b, "DKIF"...)
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = binary.LittleEndian.AppendUint16(b, 32)
	b = append(b, fourcc...)
	b = binary.LittleEndian.AppendUint16(b, uint16(first.Video.GetWidth()))  //nolint:gosec // at most 8192
	b = binary.LittleEndian.AppendUint16(b, uint16(first.Video.GetHeight())) //nolint:gosec // as above
	b = binary.LittleEndian.AppendUint32(b, ivfClock)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint64(b, 0) // number of frames, known at the end
	_, err := v.w.Write(b)
	return v, err
}

func (v *ivf) accepts(f Frame) bool { return f.Video != nil }

func (v *ivf) write(f Frame) error {
	// Nanoseconds to ticks, rounded: a tick is 100,000/9 of them.
	ticks := ((f.Video.GetInfo().GetPresentationTimeNs()-v.start)*9 + 50_000) / 100_000
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(f.Video.GetPayload()))) //nolint:gosec // below gRPC's limit
	b = binary.LittleEndian.AppendUint64(b, uint64(ticks))                        //nolint:gosec // never goes back
	if _, err := v.w.Write(b); err != nil {
		return err
	}
	v.frames++
	_, err := v.w.Write(f.Video.GetPayload())
	return err
}

func (v *ivf) close() error {
	if err := v.w.Flush(); err != nil {
		return err
	}
	return rewrite(v.file, 24, binary.LittleEndian.AppendUint32(nil, v.frames))
}

// annexB writes an H.264 byte stream (ITU-T H.264 Annex B): access units as they come.
type annexB struct{ w *bufio.Writer }

func newAnnexB(w io.WriteSeeker, h *penstockv1.StreamHeader, first Frame) (writer, error) {
	if h.GetCodec() != penstockv1.Codec_CODEC_H264 || first.Video == nil {
		return nil, fmt.Errorf("%w: %v in a .h264 file", ErrCodec, h.GetCodec())
	}
	return &annexB{bufio.NewWriter(w)}, nil
}

func (a *annexB) accepts(f Frame) bool { return f.Video != nil }

func (a *annexB) write(f Frame) error {
	_, err := a.w.Write(f.Video.GetPayload())
	return err
}

func (a *annexB) close() error { return a.w.Flush() }

// ogg writes Ogg Opus (RFC 7845).
type ogg struct{ w *oggwriter.OggWriter }

func newOgg(w io.WriteSeeker, h *penstockv1.StreamHeader, first Frame) (writer, error) {
	if h.GetCodec() != penstockv1.Codec_CODEC_OPUS || first.Audio == nil {
		return nil, fmt.Errorf("%w: %v in Ogg", ErrCodec, h.GetCodec())
	}
	out, err := oggwriter.NewWith(fileOnly{w}, 48000, 2)
	if err != nil {
		return nil, err
	}
	return &ogg{out}, nil
}

func (o *ogg) accepts(f Frame) bool { return f.Audio != nil }

func (o *ogg) write(f Frame) error {
	if len(f.Audio.GetPayload()) == 0 {
		return nil // silence that was not sent (DTX)
	}
	return o.w.WriteRTP(&rtp.Packet{Header: rtp.Header{Timestamp: f.Audio.GetInfo().GetRtpTimestamp()}, Payload: f.Audio.GetPayload()})
}

func (o *ogg) close() error { return o.w.Close() }

// fileOnly hides a file's other methods from a writer that would close it.
type fileOnly struct{ io.Writer }
