// Package record writes what StreamTrack delivers into files that other programs open: pictures as YUV4MPEG2 (.y4m),
// samples as RIFF WAVE (.wav), and media as received as IVF (.ivf), H.264 byte stream (.h264) or Ogg Opus (.ogg).
//
// Nothing in it is safe for concurrent use.
package record

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// writer writes one file.
type writer interface {
	// accepts tells whether a frame belongs into this file. If not, it belongs into a new one.
	accepts(f Frame) bool
	write(f Frame) error
	// close completes the file but leaves it open.
	close() error
}

// Frame is one message of a stream: exactly one field is set.
type Frame struct {
	Audio *penstockv1.AudioFrame
	Video *penstockv1.VideoFrame
}

// Info returns what the frame says about itself.
func (f Frame) Info() *penstockv1.FrameInfo {
	if f.Audio != nil {
		return f.Audio.GetInfo()
	}
	return f.Video.GetInfo()
}

// Payload returns the frame's bytes.
func (f Frame) Payload() []byte {
	if f.Audio != nil {
		return f.Audio.GetPayload()
	}
	return f.Video.GetPayload()
}

// container is a kind of file.
type container struct {
	extension string
	request   func() *penstockv1.StreamFormat
	create    func(w io.WriteSeeker, h *penstockv1.StreamHeader, first Frame) (writer, error)
}

func containers() []container {
	return []container{
		{".y4m", requestI420, newY4M},
		{".wav", requestPCM, newWAV},
		{".ivf", requestEncoded(penstockv1.Codec_CODEC_VP8, penstockv1.Codec_CODEC_VP9, penstockv1.Codec_CODEC_AV1), newIVF},
		{".h264", requestEncoded(penstockv1.Codec_CODEC_H264), newAnnexB},
		{".ogg", requestEncoded(penstockv1.Codec_CODEC_OPUS), newOgg},
	}
}

// Extensions lists the extensions that NewRecorder takes.
func Extensions() []string {
	var all []string
	for _, c := range containers() {
		all = append(all, c.extension)
	}
	return all
}

func requestI420() *penstockv1.StreamFormat {
	return &penstockv1.StreamFormat{Format: &penstockv1.StreamFormat_Video{Video: &penstockv1.VideoFormat{
		PixelFormat: penstockv1.PixelFormat_PIXEL_FORMAT_I420, AllowRowPadding: true,
	}}}
}

func requestPCM() *penstockv1.StreamFormat {
	return &penstockv1.StreamFormat{Format: &penstockv1.StreamFormat_Audio{Audio: &penstockv1.AudioFormat{
		SampleFormat: penstockv1.SampleFormat_SAMPLE_FORMAT_S16LE,
	}}}
}

func requestEncoded(codecs ...penstockv1.Codec) func() *penstockv1.StreamFormat {
	return func() *penstockv1.StreamFormat {
		return &penstockv1.StreamFormat{Format: &penstockv1.StreamFormat_Encoded{Encoded: &penstockv1.EncodedFormat{Codecs: codecs}}}
	}
}

// Recorder writes a stream into a file, and into further ones where one cannot hold what follows: y4m pictures of
// another size, samples of another rate, another codec. The second file of talk.y4m is talk-2.y4m.
type Recorder struct {
	path   string
	kind   container
	header *penstockv1.StreamHeader
	file   *os.File
	out    writer
	paths  []string
}

// NewRecorder returns a recorder for a path whose extension names the container. No file is made before the first
// frame comes. The error is ErrExtension for an unknown one.
func NewRecorder(path string) (*Recorder, error) {
	ext := strings.ToLower(filepath.Ext(path))
	all := containers()
	i := slices.IndexFunc(all, func(c container) bool { return c.extension == ext })
	if i < 0 {
		return nil, fmt.Errorf("%w: %q; use one of %s", ErrExtension, ext, strings.Join(Extensions(), ", "))
	}
	return &Recorder{path: path, kind: all[i]}, nil
}

// Request returns what StreamTrack must be asked for to fill the file.
func (r *Recorder) Request() *penstockv1.StreamFormat { return r.kind.request() }

// Header tells what the frames that follow are. It comes before the first frame, and may come again: where the file
// cannot hold what is announced, the next frame begins a new one.
func (r *Recorder) Header(h *penstockv1.StreamHeader) error {
	before := r.header
	r.header = h
	if r.out == nil {
		return nil
	}
	encoded := h.GetFormat().GetEncoded() != nil
	a, b := before.GetFormat().GetAudio(), h.GetFormat().GetAudio()
	if encoded && before.GetCodec() == h.GetCodec() || !encoded && a.GetSampleRateHz() == b.GetSampleRateHz() && a.GetChannels() == b.GetChannels() {
		return nil
	}
	return r.finish()
}

// Write adds a frame, whose bytes are not kept.
func (r *Recorder) Write(f Frame) error {
	if r.out != nil && !r.out.accepts(f) {
		if err := r.finish(); err != nil {
			return err
		}
	}
	if r.out == nil {
		if err := r.begin(f); err != nil {
			return err
		}
	}
	if err := r.out.write(f); err != nil {
		return fmt.Errorf("record: write %s: %w", r.file.Name(), err)
	}
	return nil
}

// Paths lists the files that were made, in order.
func (r *Recorder) Paths() []string { return r.paths }

// Close completes the last file. It is idempotent.
func (r *Recorder) Close() error {
	if r.out == nil {
		return nil
	}
	return r.finish()
}

func (r *Recorder) begin(first Frame) error {
	path := r.path
	if n := len(r.paths); n > 0 {
		ext := filepath.Ext(path)
		path = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(path, ext), n+1, ext)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("record: create: %w", err)
	}
	out, err := r.kind.create(f, r.header, first)
	if err != nil {
		_ = f.Close()
		_ = os.Remove(path)
		return fmt.Errorf("record: begin %s: %w", path, err)
	}
	r.file, r.out, r.paths = f, out, append(r.paths, path)
	return nil
}

func (r *Recorder) finish() error {
	err := r.out.close()
	if cerr := r.file.Close(); err == nil {
		err = cerr
	}
	r.out = nil
	if err != nil {
		return fmt.Errorf("record: complete %s: %w", r.file.Name(), err)
	}
	return nil
}
