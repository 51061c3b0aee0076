package service

import (
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
)

// Defaults of formats, as the contract documents them.
const (
	defaultRate        = 48000 // Hz
	defaultChannels    = 1
	defaultChunkMS     = 20
	defaultJPEGQuality = 80
	maxBox             = 8192 // pixels
)

// formatRequest returns what a consumer asks of a track of the given kind. pixel is the default layout.
func formatRequest(f *penstockv1.StreamFormat, kind media.Kind, pixel media.PixelFormat) (media.Request, error) {
	switch v := f.GetFormat().(type) {
	case *penstockv1.StreamFormat_Audio:
		a, err := audioFormat(v.Audio)
		return media.Request{Audio: a}, err
	case *penstockv1.StreamFormat_Video:
		p, err := videoFormat(v.Video, "format.video.", pixel)
		return media.Request{Video: p}, err
	case *penstockv1.StreamFormat_Encoded:
		codecs, err := acceptedCodecs(v.Encoded)
		return media.Request{Encoded: true, AcceptCodecs: codecs}, err
	}
	if kind == media.KindAudio {
		a, err := audioFormat(nil)
		return media.Request{Audio: a}, err
	}
	p, err := videoFormat(nil, "format.video.", pixel)
	return media.Request{Video: p}, err
}

// formatPrefix returns the path of a format's fields in the request.
func formatPrefix(f *penstockv1.StreamFormat) string {
	switch f.GetFormat().(type) {
	case *penstockv1.StreamFormat_Audio:
		return "format.audio."
	case *penstockv1.StreamFormat_Video:
		return "format.video."
	case *penstockv1.StreamFormat_Encoded:
		return "format.encoded."
	}
	return "format."
}

// audioFormat fills in the defaults. Ranges of numbers are media's to check, which knows what it can do.
func audioFormat(a *penstockv1.AudioFormat) (*media.AudioFormat, error) {
	out := &media.AudioFormat{
		Rate:     int(orDefault(a.GetSampleRateHz(), defaultRate)),
		Channels: int(orDefault(a.GetChannels(), defaultChannels)),
		Chunk:    time.Duration(orDefault(a.GetChunkMs(), defaultChunkMS)) * time.Millisecond,
	}
	switch a.GetSampleFormat() {
	case penstockv1.SampleFormat_SAMPLE_FORMAT_UNSPECIFIED, penstockv1.SampleFormat_SAMPLE_FORMAT_S16LE:
		out.Sample = media.S16LE
	case penstockv1.SampleFormat_SAMPLE_FORMAT_F32LE:
		out.Sample = media.F32LE
	default:
		return nil, invalid("format.audio.sample_format", "is not known; use SAMPLE_FORMAT_S16LE or SAMPLE_FORMAT_F32LE")
	}
	switch a.GetSilence() {
	case penstockv1.SilenceMode_SILENCE_MODE_UNSPECIFIED, penstockv1.SilenceMode_SILENCE_MODE_FILL:
	case penstockv1.SilenceMode_SILENCE_MODE_OMIT:
		out.OmitSilence = true
	default:
		return nil, invalid("format.audio.silence", "is not known; use SILENCE_MODE_FILL or SILENCE_MODE_OMIT")
	}
	return out, nil
}

// videoFormat fills in the defaults and checks what the contract bounds. prefix is the path of the format's fields.
func videoFormat(v *penstockv1.VideoFormat, prefix string, pixel media.PixelFormat) (*media.VideoFormat, error) {
	out := &media.VideoFormat{
		Pixel: pixel, Width: int(v.GetWidth()), Height: int(v.GetHeight()), AllowUpscale: v.GetAllowUpscale(),
		MaxFPS: v.GetMaxFps(), JPEGQuality: int(orDefault(v.GetJpegQuality(), defaultJPEGQuality)),
		AllowRowPadding: v.GetAllowRowPadding(),
	}
	var f faults
	if v.GetWidth() > maxBox || v.GetHeight() > maxBox {
		f.add(prefix+"width", "and height must be 1 to %d, or 0 for no limit", maxBox)
	}
	if fps := v.GetMaxFps(); !(fps >= 0 && fps <= 240) {
		f.add(prefix+"max_fps", "must be 0 to 240; 0 does not limit")
	}
	if out.JPEGQuality > 100 {
		f.add(prefix+"jpeg_quality", "must be 1 to 100, or 0 for %d", defaultJPEGQuality)
	}
	if p, ok := pixelFormats[v.GetPixelFormat()]; ok {
		out.Pixel = p
	} else if v.GetPixelFormat() != penstockv1.PixelFormat_PIXEL_FORMAT_UNSPECIFIED {
		f.add(prefix+"pixel_format", "is not known; use PIXEL_FORMAT_I420, PIXEL_FORMAT_NV12, PIXEL_FORMAT_RGB24, PIXEL_FORMAT_RGBA or PIXEL_FORMAT_JPEG")
	}
	switch v.GetFit() {
	case penstockv1.FitMode_FIT_MODE_UNSPECIFIED, penstockv1.FitMode_FIT_MODE_CONTAIN:
		out.Fit = media.Contain
	case penstockv1.FitMode_FIT_MODE_COVER, penstockv1.FitMode_FIT_MODE_STRETCH:
		out.Fit = media.Cover
		if v.GetFit() == penstockv1.FitMode_FIT_MODE_STRETCH {
			out.Fit = media.Stretch
		}
		if v.GetWidth() == 0 || v.GetHeight() == 0 {
			f.add(prefix+"fit", "COVER and STRETCH need both width and height")
		}
	default:
		f.add(prefix+"fit", "is not known; use FIT_MODE_CONTAIN, FIT_MODE_COVER or FIT_MODE_STRETCH")
	}
	switch v.GetRotation() {
	case penstockv1.RotationMode_ROTATION_MODE_UNSPECIFIED, penstockv1.RotationMode_ROTATION_MODE_APPLY:
	case penstockv1.RotationMode_ROTATION_MODE_REPORT:
		out.ReportRotation = true
	default:
		f.add(prefix+"rotation", "is not known; use ROTATION_MODE_APPLY or ROTATION_MODE_REPORT")
	}
	return out, f.err()
}

// pixelFormats is written nowhere but here.
var pixelFormats = map[penstockv1.PixelFormat]media.PixelFormat{
	penstockv1.PixelFormat_PIXEL_FORMAT_I420:  media.I420,
	penstockv1.PixelFormat_PIXEL_FORMAT_NV12:  media.NV12,
	penstockv1.PixelFormat_PIXEL_FORMAT_RGB24: media.RGB24,
	penstockv1.PixelFormat_PIXEL_FORMAT_RGBA:  media.RGBA,
	penstockv1.PixelFormat_PIXEL_FORMAT_JPEG:  media.JPEG,
}

// acceptedCodecs returns the codecs that a worker can use.
func acceptedCodecs(e *penstockv1.EncodedFormat) ([]media.Codec, error) {
	var out []media.Codec
	for _, c := range e.GetCodecs() {
		m := mediaCodec(c)
		if m == media.CodecUnknown {
			return nil, invalid("format.encoded.codecs", "names a codec that is not known; leave the list empty to accept any")
		}
		out = append(out, m)
	}
	return out, nil
}

// queue returns a policy's bounds, capped by the server's.
func queue(p *penstockv1.StreamPolicy, limit int) media.Queue {
	q := media.Queue{MaxDuration: time.Duration(p.GetMaxQueueMs()) * time.Millisecond}
	q.MaxBytes = min(int(min(p.GetMaxQueueBytes(), uint64(limit))), limit)
	if p.GetOverflow() == penstockv1.OverflowAction_OVERFLOW_ACTION_DISCONNECT {
		q.Overflow = media.Disconnect
	}
	return q
}

// protoFormat returns what a consumer delivers.
func protoFormat(c *media.Consumer, codec media.Codec) *penstockv1.StreamFormat {
	a, v := c.Format()
	switch {
	case a != nil:
		return &penstockv1.StreamFormat{Format: &penstockv1.StreamFormat_Audio{Audio: protoAudioFormat(a)}}
	case v != nil:
		return &penstockv1.StreamFormat{Format: &penstockv1.StreamFormat_Video{Video: protoVideoFormat(v)}}
	}
	e := &penstockv1.EncodedFormat{}
	if codec != media.CodecUnknown {
		e.Codecs = []penstockv1.Codec{protoCodec(codec)}
	}
	return &penstockv1.StreamFormat{Format: &penstockv1.StreamFormat_Encoded{Encoded: e}}
}

// protoAudioFormat returns a format with every default filled in.
func protoAudioFormat(a *media.AudioFormat) *penstockv1.AudioFormat {
	out := &penstockv1.AudioFormat{
		SampleFormat: penstockv1.SampleFormat_SAMPLE_FORMAT_S16LE, SampleRateHz: uint32(a.Rate),
		Channels: uint32(a.Channels), ChunkMs: uint32(a.Chunk / time.Millisecond),
		Silence: penstockv1.SilenceMode_SILENCE_MODE_FILL,
	}
	if a.OmitSilence {
		out.Silence = penstockv1.SilenceMode_SILENCE_MODE_OMIT
	}
	if a.Sample == media.F32LE {
		out.SampleFormat = penstockv1.SampleFormat_SAMPLE_FORMAT_F32LE
	}
	return out
}

// protoVideoFormat returns a format with every default filled in.
func protoVideoFormat(v *media.VideoFormat) *penstockv1.VideoFormat {
	out := &penstockv1.VideoFormat{
		Width: uint32(v.Width), Height: uint32(v.Height), AllowUpscale: v.AllowUpscale, MaxFps: v.MaxFPS,
		Fit: penstockv1.FitMode_FIT_MODE_CONTAIN, Rotation: penstockv1.RotationMode_ROTATION_MODE_APPLY,
		AllowRowPadding: v.AllowRowPadding,
	}
	for p, m := range pixelFormats {
		if m == v.Pixel {
			out.PixelFormat = p
		}
	}
	switch v.Fit {
	case media.Cover:
		out.Fit = penstockv1.FitMode_FIT_MODE_COVER
	case media.Stretch:
		out.Fit = penstockv1.FitMode_FIT_MODE_STRETCH
	}
	if v.ReportRotation {
		out.Rotation = penstockv1.RotationMode_ROTATION_MODE_REPORT
	}
	if v.Pixel == media.JPEG {
		out.JpegQuality = uint32(v.JPEGQuality)
	}
	return out
}

// orDefault returns d for 0.
func orDefault(v, d uint32) uint32 {
	if v == 0 {
		return d
	}
	return v
}
