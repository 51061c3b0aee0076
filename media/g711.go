package media

import (
	"fmt"

	"github.com/penstock-media/penstock/media/internal/avcodec"
)

const (
	g711Rate = 8000
	// g711MaxSamples bounds a packet: 200 ms, RFC 3551 section 4.2's longest, and no more than UDP carries.
	g711MaxSamples = g711Rate / 5
	// fadeSamples is the length that concealment repeats, and after which the loudness has halved.
	fadeSamples = g711Rate / 100
	// fadeSteps is after how many repetitions there is silence: 60 ms, as in ITU-T G.711 Appendix I.
	fadeSteps = 6
)

// g711Decoder decodes PCMU or PCMA. The codecs have no concealment of their own: the last 10 ms are repeated and
// fade to silence.
type g711Decoder struct {
	d        *avcodec.AudioDecoder
	channels int
	last     []int16 // at most fadeSamples, what was decoded last
	faded    int     // samples per channel concealed since then
}

func newG711Decoder(name string) func(CodecParameters, int, int) (audioDecoder, error) {
	return func(p CodecParameters, _, _ int) (audioDecoder, error) {
		channels := max(p.Channels, 1)
		d, err := avcodec.OpenAudio(name, g711Rate, channels)
		if err != nil {
			return nil, fmt.Errorf("media: %w", err)
		}
		return &g711Decoder{d: d, channels: channels}, nil
	}
}

// Rate implements audioDecoder.
func (g *g711Decoder) Rate() int { return g711Rate }

// Channels implements audioDecoder.
func (g *g711Decoder) Channels() int { return g.channels }

// Close implements audioDecoder.
func (g *g711Decoder) Close() error { return g.d.Close() }

// Decode implements audioDecoder.
func (g *g711Decoder) Decode(dst []int16, packet []byte) ([]int16, error) {
	if len(packet) > g711MaxSamples*g.channels {
		return dst, fmt.Errorf("%w: packet of %d bytes is longer than 200 ms", ErrCorrupt, len(packet))
	}
	at := len(dst)
	dst, err := g.d.Decode(dst, packet, g711MaxSamples)
	if err != nil {
		return dst, payloadError(err)
	}
	fresh := dst[at:]
	g.last = append(g.last[:0], fresh[max(0, len(fresh)-fadeSamples*g.channels):]...)
	g.faded = 0
	return dst, nil
}

// Recover implements audioDecoder.
func (g *g711Decoder) Recover(dst []int16, _ []byte, samples int) ([]int16, bool, error) {
	dst, err := g.Conceal(dst, samples)
	return dst, false, err
}

// Conceal implements audioDecoder.
func (g *g711Decoder) Conceal(dst []int16, samples int) ([]int16, error) {
	period := len(g.last) / g.channels
	for range max(samples, 0) {
		step := g.faded / fadeSamples
		for c := range g.channels {
			var s int16
			if period > 0 && step < fadeSteps {
				s = g.last[g.faded%period*g.channels+c] >> (step + 1)
			}
			dst = append(dst, s)
		}
		g.faded = min(g.faded+1, fadeSamples*fadeSteps)
	}
	return dst, nil
}
