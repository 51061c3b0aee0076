package media

import (
	"fmt"

	"github.com/penstock-media/penstock/media/internal/avcodec"
	"github.com/penstock-media/penstock/media/internal/picture"
)

// avDecoder is libavcodec behind the seam.
type avDecoder struct {
	d       *avcodec.VideoDecoder
	prepare func([]byte) []byte
}

// newAVDecoder opens the decoder of that name. prepare, which may be nil, changes a unit, in memory of its own.
func newAVDecoder(name string, prepare func([]byte) []byte) func(int) (videoDecoder, error) {
	return func(maxPixels int) (videoDecoder, error) {
		d, err := avcodec.OpenVideo(name, maxPixels)
		if err != nil {
			return nil, fmt.Errorf("media: %w", err)
		}
		return &avDecoder{d: d, prepare: prepare}, nil
	}
}

// Decode implements videoDecoder.
func (a *avDecoder) Decode(dst []picture.Picture, unit []byte, tag int64) ([]picture.Picture, error) {
	if a.prepare != nil {
		unit = a.prepare(unit)
	}
	dst, err := a.d.Decode(dst, unit, tag)
	return dst, payloadError(err)
}

// Close implements videoDecoder.
func (a *avDecoder) Close() error { return a.d.Close() }
