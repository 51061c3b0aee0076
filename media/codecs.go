package media

import (
	"errors"
	"fmt"

	"github.com/penstock-media/penstock/media/internal/avcodec"
	"github.com/penstock-media/penstock/media/internal/opus"
)

// codecEntry is how a codec is decoded. Exactly one of video and audio is set.
type codecEntry struct {
	codec Codec
	video func(maxPixels int) (videoDecoder, error)
	audio func(p CodecParameters, rate, channels int) (audioDecoder, error)
}

// codecTable returns every codec that can be decoded. A new one is a row here.
func codecTable() []codecEntry {
	return []codecEntry{
		{codec: CodecOpus, audio: newOpusDecoder},
		{codec: CodecPCMU, audio: newTelephonyDecoder("pcm_mulaw", 8000)},
		{codec: CodecPCMA, audio: newTelephonyDecoder("pcm_alaw", 8000)},
		{codec: CodecG722, audio: newTelephonyDecoder("g722", 16000)},
		{codec: CodecVP8, video: newAVDecoder("vp8", bitstream{})},
		{codec: CodecVP9, video: newAVDecoder("vp9", bitstream{})},
		{codec: CodecH264, video: newAVDecoder("h264", bitstream{prepare: promiseNoReordering})},
		{codec: CodecH265, video: newAVDecoder("hevc", bitstream{})},
		{codec: CodecAV1, video: newAVDecoder("libdav1d", bitstream{part: av1LayerEnd})},
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
func newVideoDecoder(c Codec, maxPixels int) (videoDecoder, error) {
	e, err := findCodec(c)
	if err != nil {
		return nil, err
	}
	if e.video == nil {
		return nil, fmt.Errorf("%v as video: %w", c, ErrKindMismatch)
	}
	return e.video(maxPixels)
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
