package media

import (
	"fmt"
	"slices"

	"github.com/penstock-media/penstock/media/internal/opus"
)

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

// Rate implements audioDecoder.
func (o *opusDecoder) Rate() int { return o.rate }

// Channels implements audioDecoder.
func (o *opusDecoder) Channels() int { return o.channels }

// Close implements audioDecoder.
func (o *opusDecoder) Close() error { return o.d.Close() }

// Decode implements audioDecoder.
func (o *opusDecoder) Decode(dst []int16, packet []byte) ([]int16, error) {
	dst, err := o.d.Decode(dst, packet)
	return dst, payloadError(err)
}

// Recover implements audioDecoder.
func (o *opusDecoder) Recover(dst []int16, next []byte, samples int) ([]int16, bool, error) {
	if !opus.HasFEC(next) {
		dst, err := o.Conceal(dst, samples)
		return dst, false, err
	}
	dst, err := o.d.DecodeFEC(dst, next, samples)
	return dst, err == nil, payloadError(err)
}

// Conceal implements audioDecoder.
func (o *opusDecoder) Conceal(dst []int16, samples int) ([]int16, error) {
	dst, err := o.d.Conceal(dst, samples)
	return dst, payloadError(err)
}
