package media

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock-media/penstock/media/internal/avcodec"
	"github.com/penstock-media/penstock/media/internal/opus"
	"github.com/penstock-media/penstock/media/internal/picture"
)

// codecEntry is how a codec is decoded. Exactly one of video and audio is set.
type codecEntry struct {
	codec Codec
	video func(maxPixels int, fmtp string) (videoDecoder, error)
	audio func(p CodecParameters, rate, channels int) (audioDecoder, error)
}

// codecTable returns every codec that can be decoded. A new one is a row here.
func codecTable() []codecEntry {
	return []codecEntry{
		{codec: CodecOpus, audio: newOpusDecoder},
		{codec: CodecPCMU, audio: newG711Decoder("pcm_mulaw")},
		{codec: CodecPCMA, audio: newG711Decoder("pcm_alaw")},
		{codec: CodecVP8, video: newAVDecoder("vp8", avHooks{})},
		{codec: CodecH264, video: newAVDecoder("h264", avHooks{extradata: spropParameterSets, prepare: promiseNoReordering})},
	}
}

func findCodec(c Codec) (codecEntry, error) {
	for _, e := range codecTable() {
		if e.codec == c {
			return e, nil
		}
	}
	return codecEntry{}, fmt.Errorf("%v: %w", c, ErrUnsupportedCodec)
}

// Decodable tells whether a decoder for the codec is built in.
func Decodable(c Codec) bool {
	_, err := findCodec(c)
	return err == nil
}

// newVideoDecoder opens a decoder that refuses pictures of more than maxPixels. fmtp is that of the payload type.
func newVideoDecoder(c Codec, maxPixels int, fmtp string) (videoDecoder, error) {
	e, err := findCodec(c)
	if err != nil {
		return nil, err
	}
	if e.video == nil {
		return nil, fmt.Errorf("%v as video: %w", c, ErrKindMismatch)
	}
	return e.video(maxPixels, fmtp)
}

// newAudioDecoder opens a decoder whose output is as near to rate in Hz and channels as the codec can give natively; see
// its Rate and Channels. The rest is for a resampler.
func newAudioDecoder(p CodecParameters, rate, channels int) (audioDecoder, error) {
	e, err := findCodec(p.Codec)
	if err != nil {
		return nil, err
	}
	if e.audio == nil {
		return nil, fmt.Errorf("%v as audio: %w", p.Codec, ErrKindMismatch)
	}
	return e.audio(p, rate, channels)
}

// avHooks are what a codec needs beyond libavcodec; each may be nil.
type avHooks struct {
	extradata func(fmtp string) []byte // what comes before the stream
	prepare   func(unit []byte) []byte // changes a unit, in memory of its own
}

// avDecoder is libavcodec behind the seam.
type avDecoder struct {
	d       *avcodec.VideoDecoder
	prepare func([]byte) []byte
}

func newAVDecoder(name string, hooks avHooks) func(int, string) (videoDecoder, error) {
	return func(maxPixels int, fmtp string) (videoDecoder, error) {
		var extra []byte
		if hooks.extradata != nil {
			extra = hooks.extradata(fmtp)
			if hooks.prepare != nil {
				extra = hooks.prepare(extra)
			}
		}
		d, err := avcodec.OpenVideo(name, maxPixels, extra)
		if err != nil {
			return nil, fmt.Errorf("media: %w", err)
		}
		return &avDecoder{d: d, prepare: hooks.prepare}, nil
	}
}

func (a *avDecoder) Decode(dst []picture.Picture, unit []byte, tag int64) ([]picture.Picture, error) {
	if a.prepare != nil {
		unit = a.prepare(unit)
	}
	dst, err := a.d.Decode(dst, unit, tag)
	return dst, payloadError(err)
}

func (a *avDecoder) Close() error { return a.d.Close() }

// payloadError says ErrCorrupt of what is the payload's fault, pictures that are too large included: the decoder
// itself is well, and another key frame may help.
func payloadError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, avcodec.ErrInvalidData), errors.Is(err, avcodec.ErrTooLarge), errors.Is(err, avcodec.ErrUnsupported),
		errors.Is(err, opus.ErrInvalidPacket):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	default:
		return fmt.Errorf("media: decode: %w", err)
	}
}

// spropParameterSets returns H.264's sprop-parameter-sets (RFC 6184 section 8.1) in Annex B, or nil.
func spropParameterSets(fmtp string) []byte {
	var sets []byte
	for param := range strings.SplitSeq(fmtp, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if !strings.EqualFold(name, "sprop-parameter-sets") {
			continue
		}
		for nal := range strings.SplitSeq(value, ",") {
			b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(nal))
			if err != nil || len(b) == 0 {
				return nil
			}
			sets = append(append(sets, 0, 0, 0, 1), b...)
		}
	}
	return sets
}

// opusDecoder is libopus behind the seam.
type opusDecoder struct {
	d              *opus.Decoder
	rate, channels int
}

// newOpusDecoder decodes at the smallest rate of libopus's own that is not below rate, so that nothing audible is lost.
func newOpusDecoder(_ CodecParameters, rate, channels int) (audioDecoder, error) {
	rates := opus.Rates()
	i, _ := slices.BinarySearch(rates, rate)
	native := rates[min(i, len(rates)-1)]
	channels = min(max(channels, 1), 2)
	d, err := opus.Open(native, channels)
	if err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	return &opusDecoder{d: d, rate: native, channels: channels}, nil
}

func (o *opusDecoder) Rate() int     { return o.rate }
func (o *opusDecoder) Channels() int { return o.channels }
func (o *opusDecoder) Close() error  { return o.d.Close() }

func (o *opusDecoder) Decode(dst []int16, packet []byte) ([]int16, error) {
	dst, err := o.d.Decode(dst, packet)
	return dst, payloadError(err)
}

func (o *opusDecoder) Recover(dst []int16, next []byte, samples int) ([]int16, bool, error) {
	if !opus.HasFEC(next) {
		dst, err := o.Conceal(dst, samples)
		return dst, false, err
	}
	dst, err := o.d.DecodeFEC(dst, next, samples)
	return dst, err == nil, payloadError(err)
}

func (o *opusDecoder) Conceal(dst []int16, samples int) ([]int16, error) {
	dst, err := o.d.Conceal(dst, samples)
	return dst, payloadError(err)
}
