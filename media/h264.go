package media

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// NAL unit types of ITU-T H.264 table 7-1 and RFC 6184 section 5.2.
const (
	nalIDR   = 5
	nalSPS   = 7
	nalPPS   = 8
	nalSTAPA = 24
	nalFUA   = 28
)

var annexBStart = []byte{0, 0, 0, 1}

// h264Depacketizer reads RFC 6184, packetization modes 0 and 1, into an Annex B byte stream.
type h264Depacketizer struct {
	// sets are the newest parameter sets, in Annex B: those of a=fmtp's sprop-parameter-sets until some come in-band. They go
	// before a key frame that comes without, so that a decoder may start there.
	sets   []byte
	inBand []byte // of the unit under way

	fragment    bool // a fragmented NAL unit is under way
	idr, sps    bool
	slices      bool
	nonIDRSlice bool
	headless    bool // the picture's first slice is missing
	referred    bool // other pictures may refer to it
}

func newH264Depacketizer(fmtp string) *h264Depacketizer {
	return &h264Depacketizer{sets: spropParameterSets(fmtp)}
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
			sets = append(append(sets, annexBStart...), b...)
		}
	}
	return sets
}

func (d *h264Depacketizer) begin() {
	d.fragment, d.idr, d.sps, d.slices, d.nonIDRSlice, d.headless, d.referred = false, false, false, false, false, false, false
	d.inBand = d.inBand[:0]
}

func (d *h264Depacketizer) append(dst, payload []byte) ([]byte, bool) {
	if len(payload) < 2 {
		return dst, false
	}
	switch t := payload[0] & 0x1f; {
	case t == 0:
		return dst, false
	case t < nalSTAPA:
		whole := !d.fragment
		d.fragment = false
		return d.nal(dst, payload), whole
	case t == nalSTAPA:
		return d.aggregate(dst, payload[1:])
	case t == nalFUA:
		return d.fragmentOf(dst, payload)
	default:
		return dst, false // STAP-B, MTAP and FU-B belong to packetization mode 2, which is not negotiated
	}
}

// nal appends one NAL unit.
func (d *h264Depacketizer) nal(dst, nal []byte) []byte {
	t := nal[0] & 0x1f
	d.note(nal[0], nal[1:])
	if t == nalSPS || t == nalPPS {
		d.inBand = append(append(d.inBand, annexBStart...), nal...)
	}
	return append(append(dst, annexBStart...), nal...)
}

// note remembers what the unit holds. The first slice of a picture begins with macroblock 0, which is a single 1 bit
// (ITU-T H.264 section 7.3.3); when it does not, the picture's beginning is missing.
func (d *h264Depacketizer) note(header byte, data []byte) {
	t := header & 0x1f
	if t >= 1 && t <= nalIDR {
		d.headless = d.headless || !d.slices && (len(data) == 0 || data[0]&0x80 == 0)
		d.referred = d.referred || header&0x60 != 0 // nal_ref_idc
	}
	switch {
	case t == nalIDR:
		d.idr, d.slices = true, true
	case t >= 1 && t < nalIDR:
		d.slices, d.nonIDRSlice = true, true
	case t == nalSPS:
		d.sps = true
	}
}

// aggregate appends the NAL units of a STAP-A (RFC 6184 section 5.7.1).
func (d *h264Depacketizer) aggregate(dst, b []byte) ([]byte, bool) {
	whole := !d.fragment
	d.fragment = false
	for len(b) > 0 {
		if len(b) < 2 {
			return dst, false
		}
		n := int(binary.BigEndian.Uint16(b))
		b = b[2:]
		if n == 0 || n > len(b) {
			return dst, false
		}
		dst = d.nal(dst, b[:n])
		b = b[n:]
	}
	return dst, whole
}

// fragmentOf appends a fragment (RFC 6184 section 5.8).
func (d *h264Depacketizer) fragmentOf(dst, payload []byte) ([]byte, bool) {
	indicator, header, data := payload[0], payload[1], payload[2:]
	start, end, t := header&0x80 != 0, header&0x40 != 0, header&0x1f
	if start == d.fragment || (start && end) || len(data) == 0 {
		return dst, false
	}
	if start {
		d.fragment = true
		d.note(indicator&0xe0|t, data)
		dst = append(append(dst, annexBStart...), indicator&0xe0|t)
	}
	if end {
		d.fragment = false
	}
	return append(dst, data...), true
}

func (d *h264Depacketizer) finish(dst []byte) ([]byte, traits, bool) {
	if d.fragment || d.headless {
		return dst, traits{}, false
	}
	if d.sps {
		d.sets = append(d.sets[:0], d.inBand...)
	}
	if !d.slices {
		return dst[:0], traits{}, true // parameter sets or SEI under a timestamp of their own
	}
	key := d.idr && !d.nonIDRSlice
	if key && !d.sps && len(d.sets) > 0 {
		n := len(dst)
		dst = append(dst, d.sets...)
		copy(dst[len(d.sets):], dst[:n])
		copy(dst, d.sets)
	}
	return dst, traits{key: key, discardable: !d.referred}, true
}
