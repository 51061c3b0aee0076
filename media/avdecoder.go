package media

import (
	"fmt"

	"github.com/penstock-media/penstock/media/internal/avcodec"
	"github.com/penstock-media/penstock/media/internal/picture"
)

// avDecoder is libavcodec behind the seam.
type avDecoder struct {
	d *avcodec.VideoDecoder
	bitstream
}

// bitstream is what is done to a codec's units before libavcodec gets them. Each may be nil.
type bitstream struct {
	// prepare changes a unit, in memory of its own.
	prepare func([]byte) []byte
	// part is how much of a unit to decode at a time, where a decoder gives one picture for what it gets at once.
	part func([]byte) int
}

// newAVDecoder opens the decoder of that name.
func newAVDecoder(name string, stream bitstream) func(int) (videoDecoder, error) {
	return func(maxPixels int) (videoDecoder, error) {
		d, err := avcodec.OpenVideo(name, maxPixels)
		if err != nil {
			return nil, fmt.Errorf("media: %w", err)
		}
		return &avDecoder{d, stream}, nil
	}
}

// Decode implements videoDecoder.
func (a *avDecoder) Decode(dst []picture.Picture, unit []byte, tag int64) ([]picture.Picture, error) {
	if a.prepare != nil {
		unit = a.prepare(unit)
	}
	for {
		n := len(unit)
		if a.part != nil {
			n = a.part(unit)
		}
		var err error
		dst, err = a.d.Decode(dst, unit[:n], tag)
		if unit = unit[n:]; err != nil || len(unit) == 0 {
			return dst, payloadError(err)
		}
	}
}

// Close implements videoDecoder.
func (a *avDecoder) Close() error { return a.d.Close() }
