package media

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/penstock-media/penstock/media/internal/avcodec"
	"github.com/penstock-media/penstock/media/internal/picture"
)

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
