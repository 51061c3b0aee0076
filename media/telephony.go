package media

import (
	"fmt"

	"github.com/penstock-media/penstock/media/internal/avcodec"
)

const (
	// telephonyMaxMillis bounds a packet: 200 ms is the longest of RFC 3551 section 4.2.
	telephonyMaxMillis = 200
	// fadeMillis is the length that concealment repeats, and after which the loudness has halved.
	fadeMillis = 10
	// fadeSteps is after how many repetitions there is silence: 60 ms, as in ITU-T G.711 Appendix I.
	fadeSteps = 6
)

// telephonyDecoder decodes the codecs of telephones: G.711 and G.722. They have no concealment of their own: the last
// 10 ms are repeated and fade to silence.
type telephonyDecoder struct {
	d              *avcodec.AudioDecoder
	rate, channels int
	maxBytes       int     // of a packet
	last           []int16 // at most fadeMillis, what was decoded last
	faded          int     // samples per channel concealed since then
}

// newTelephonyDecoder opens libavcodec's decoder of that name, whose output has rate Hz.
func newTelephonyDecoder(name string, rate int) func(CodecParameters, int, int) (audioDecoder, error) {
	return func(p CodecParameters, _, _ int) (audioDecoder, error) {
		channels := max(p.Channels, 1)
		if p.Codec == CodecG722 {
			channels = 1 // RFC 3551 gives it no more, and libavcodec knows no more
		}
		d, err := avcodec.OpenAudio(name, rate, channels)
		if err != nil {
			return nil, fmt.Errorf("media: %w", err)
		}
		// A byte a sample at 8 kHz, or two samples at 16.
		return &telephonyDecoder{d: d, rate: rate, channels: channels, maxBytes: 8 * telephonyMaxMillis * channels}, nil
	}
}

// Rate implements audioDecoder.
func (g *telephonyDecoder) Rate() int { return g.rate }

// Channels implements audioDecoder.
func (g *telephonyDecoder) Channels() int { return g.channels }

// Close implements audioDecoder.
func (g *telephonyDecoder) Close() error { return g.d.Close() }

// Decode implements audioDecoder.
func (g *telephonyDecoder) Decode(dst []int16, packet []byte) ([]int16, error) {
	if len(packet) > g.maxBytes {
		return dst, fmt.Errorf("%w: packet of %d bytes is longer than %d ms", ErrCorrupt, len(packet), telephonyMaxMillis)
	}
	at := len(dst)
	dst, err := g.d.Decode(dst, packet, telephonyMaxMillis*g.rate/1000)
	if err != nil {
		return dst, payloadError(err)
	}
	fresh := dst[at:]
	g.last = append(g.last[:0], fresh[max(0, len(fresh)-g.fadeSamples()*g.channels):]...)
	g.faded = 0
	return dst, nil
}

// Recover implements audioDecoder.
func (g *telephonyDecoder) Recover(dst []int16, _ []byte, samples int) ([]int16, bool, error) {
	dst, err := g.Conceal(dst, samples)
	return dst, false, err
}

// Conceal implements audioDecoder.
func (g *telephonyDecoder) Conceal(dst []int16, samples int) ([]int16, error) {
	period, fade := len(g.last)/g.channels, g.fadeSamples()
	for range max(samples, 0) {
		step := g.faded / fade
		for c := range g.channels {
			var s int16
			if period > 0 && step < fadeSteps {
				s = g.last[g.faded%period*g.channels+c] >> (step + 1)
			}
			dst = append(dst, s)
		}
		g.faded = min(g.faded+1, fade*fadeSteps)
	}
	return dst, nil
}

func (g *telephonyDecoder) fadeSamples() int { return fadeMillis * g.rate / 1000 }
