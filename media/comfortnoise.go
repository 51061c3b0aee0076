package media

import "math"

// comfortNoise is the noise in which silence was sent to be heard (RFC 3389): of the loudness that was told. The shape of its spectrum is
// left white.
type comfortNoise struct {
	on    bool
	peak  float64
	state uint32
}

// set takes the payload of a packet of comfort noise. The first byte is the level in -dBov.
func (n *comfortNoise) set(payload []byte) {
	n.on = len(payload) > 0
	if !n.on {
		return
	}
	if n.state == 0 {
		n.state = 0x9e3779b9
	}
	// White noise between -1 and 1 has a root mean square of 1/√3.
	n.peak = 32768 * math.Sqrt(3) * math.Pow(10, -float64(payload[0]&0x7f)/20)
}

func (n *comfortNoise) off() { n.on = false }

// append appends samples (per channel), the same on every channel.
func (n *comfortNoise) append(dst []int16, samples, channels int) []int16 {
	for range samples {
		n.state ^= n.state << 13
		n.state ^= n.state >> 17
		n.state ^= n.state << 5
		v := math.Round(n.peak * float64(int32(n.state)) / (1 << 31)) //nolint:gosec // all 32 bits are wanted
		s := int16(min(max(v, math.MinInt16), math.MaxInt16))
		for range channels {
			dst = append(dst, s)
		}
	}
	return dst
}
