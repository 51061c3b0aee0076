package record

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

const (
	wavHeaderBytes = 44
	wavPCM         = 1 // WAVE_FORMAT_PCM
	wavFloat       = 3 // WAVE_FORMAT_IEEE_FLOAT
)

// wav writes RIFF WAVE. What the stream lacks, by its time line, is written as silence, so that the file's time is
// the track's.
type wav struct {
	file        io.WriteSeeker
	w           *bufio.Writer
	format      *penstockv1.AudioFormat
	blockBytes  int // of one sample of all channels
	start       int64
	blocks      int64 // written
	maxDataSize int64
}

func newWAV(w io.WriteSeeker, h *penstockv1.StreamHeader, first Frame) (writer, error) {
	format := h.GetFormat().GetAudio()
	if first.Audio == nil || format.GetSampleRateHz() == 0 || format.GetChannels() == 0 {
		return nil, fmt.Errorf("%w: not decoded audio", ErrFrame)
	}
	bytes := 2
	if format.GetSampleFormat() == penstockv1.SampleFormat_SAMPLE_FORMAT_F32LE {
		bytes = 4
	}
	a := &wav{
		file: w, w: bufio.NewWriterSize(w, 1<<16), format: format, blockBytes: bytes * int(format.GetChannels()),
		start: first.Audio.GetInfo().GetPresentationTimeNs(), maxDataSize: math.MaxUint32 - wavHeaderBytes,
	}
	_, err := a.w.Write(a.header())
	return a, err
}

func (a *wav) header() []byte {
	tag, rate, channels := uint16(wavPCM), a.format.GetSampleRateHz(), a.format.GetChannels()
	if a.format.GetSampleFormat() == penstockv1.SampleFormat_SAMPLE_FORMAT_F32LE {
		tag = wavFloat
	}
	size := uint32(a.blocks * int64(a.blockBytes)) //nolint:gosec // kept below maxDataSize
	b := make([]byte, 0, wavHeaderBytes)
	b = append(b, "RIFF"...)
	b = binary.LittleEndian.AppendUint32(b, size+wavHeaderBytes-8)
	b = append(b, "WAVEfmt "...)
	b = binary.LittleEndian.AppendUint32(b, 16)
	b = binary.LittleEndian.AppendUint16(b, tag)
	b = binary.LittleEndian.AppendUint16(b, uint16(channels)) //nolint:gosec // 1 or 2
	b = binary.LittleEndian.AppendUint32(b, rate)
	b = binary.LittleEndian.AppendUint32(b, rate*uint32(a.blockBytes)) //nolint:gosec // at most 8
	b = binary.LittleEndian.AppendUint16(b, uint16(a.blockBytes))      //nolint:gosec // as above
	b = binary.LittleEndian.AppendUint16(b, uint16(a.blockBytes*8/int(channels)))
	b = append(b, "data"...)
	return binary.LittleEndian.AppendUint32(b, size)
}

func (a *wav) accepts(f Frame) bool { return f.Audio != nil }

func (a *wav) write(f Frame) error {
	payload := f.Audio.GetPayload()
	if len(payload)%a.blockBytes != 0 {
		return fmt.Errorf("%w: %d bytes are not whole samples of %d", ErrFrame, len(payload), a.blockBytes)
	}
	if err := a.silence(f.Audio); err != nil {
		return err
	}
	return a.append(payload)
}

// silence fills the time between what is written and the frame. Less than a frame's length is jitter of rounding.
func (a *wav) silence(f *penstockv1.AudioFrame) error {
	at := time.Duration(f.GetInfo().GetPresentationTimeNs() - a.start)
	missing := int64(at.Seconds()*float64(a.format.GetSampleRateHz())) - a.blocks
	if missing < int64(f.GetSampleCount()) {
		return nil
	}
	zeros := make([]byte, 4096*a.blockBytes)
	for missing > 0 {
		n := min(missing, 4096)
		if err := a.append(zeros[:n*int64(a.blockBytes)]); err != nil {
			return err
		}
		missing -= n
	}
	return nil
}

func (a *wav) append(samples []byte) error {
	blocks := int64(len(samples) / a.blockBytes)
	if (a.blocks+blocks)*int64(a.blockBytes) > a.maxDataSize {
		return fmt.Errorf("%w: a WAVE file holds at most 4 GiB", ErrTooLong)
	}
	a.blocks += blocks
	_, err := a.w.Write(samples)
	return err
}

func (a *wav) close() error {
	if err := a.w.Flush(); err != nil {
		return err
	}
	return rewrite(a.file, 0, a.header())
}

// rewrite replaces bytes at an offset.
func rewrite(w io.WriteSeeker, offset int64, b []byte) error {
	if _, err := w.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}
