package media

import "encoding/binary"

// NAL unit types of ITU-T H.265 table 7-1 and RFC 7798 section 4.4.
const (
	hevcTSA     = 2 // to hevcSTSAEnd: temporal sub-layer access
	hevcSTSAEnd = 5
	hevcSubEnd  = 15 // up to it even types are not referred to within their own sub-layer
	hevcIRAP    = 16 // to hevcIRAPEnd: a decoder may start here
	hevcIRAPEnd = 23
	hevcVCLEnd  = 31
	hevcVPS     = 32
	hevcSPS     = 33
	hevcPPS     = 34
	hevcAP      = 48
	hevcFU      = 49
)

// h265Depacketizer reads RFC 7798 without decoding order numbers, which are not negotiated, into an Annex B byte stream.
type h265Depacketizer struct {
	sets parameterSets
	size pictureSize // of the newest sequence parameter set
	subs uint8       // how many temporal sub-layers it announces

	fragment   bool // a fragmented NAL unit is under way
	fragmentAt int  // where it begins
	slices     bool
	headless   bool // the picture's first slice is missing
	kind       byte // of the first slice
	temporal   uint8
}

func newH265Depacketizer(fmtp string) *h265Depacketizer {
	d := &h265Depacketizer{sets: newParameterSets(fmtp, h265SetKind)}
	if sps := d.sets.kept[h265SetKind([]byte{hevcSPS << 1})]; len(sps) > len(annexBStart) {
		d.size, d.subs = h265Size(sps[len(annexBStart):])
	}
	return d
}

func h265Type(header byte) byte { return header >> 1 & 0x3f }

// h265SetKind orders parameter sets: each kind refers to those before it.
func h265SetKind(nal []byte) int {
	if t := h265Type(nal[0]); t >= hevcVPS && t <= hevcPPS {
		return int(t - hevcVPS)
	}
	return -1
}

func (d *h265Depacketizer) begin() {
	d.fragment, d.slices, d.headless, d.kind, d.temporal = false, false, false, 0, 0
	d.sets.begin()
}

func (d *h265Depacketizer) append(dst, payload []byte) ([]byte, bool) {
	if len(payload) < 2 || payload[0]&0x80 != 0 || payload[1]&7 == 0 {
		return dst, false
	}
	switch t := h265Type(payload[0]); {
	case t >= hevcAP && len(payload) < 3:
		return dst, false // an end of sequence has two bytes
	case t < hevcAP:
		whole := !d.fragment
		d.fragment = false
		return d.nal(dst, payload), whole
	case t == hevcAP:
		return d.aggregate(dst, payload[2:])
	case t == hevcFU:
		return d.fragmentOf(dst, payload)
	default:
		return dst, false // PACI only carries hints for temporal scalability
	}
}

// nal appends one NAL unit. What belongs to a layer of scalability or of another view is left out: the decoder reads the base.
func (d *h265Depacketizer) nal(dst, nal []byte) []byte {
	if h265Layer(nal) != 0 {
		return dst
	}
	d.note(nal)
	d.set(nal)
	return append(append(dst, annexBStart...), nal...)
}

func h265Layer(nal []byte) byte { return nal[0]&1<<5 | nal[1]>>3 }

func (d *h265Depacketizer) set(nal []byte) {
	d.sets.note(h265SetKind(nal), nal)
	if h265Type(nal[0]) == hevcSPS {
		if size, subs := h265Size(nal); size != (pictureSize{}) {
			d.size, d.subs = size, subs
		}
	}
}

// note remembers what the unit holds. The first slice says that it is (ITU-T H.265 section 7.3.6.1).
func (d *h265Depacketizer) note(nal []byte) {
	t := h265Type(nal[0])
	if t > hevcVCLEnd || d.slices {
		return
	}
	d.slices, d.kind, d.temporal = true, t, nal[1]&7-1
	d.headless = len(nal) < 3 || nal[2]&0x80 == 0
}

// aggregate appends the NAL units of an aggregation packet (RFC 7798 section 4.4.2).
func (d *h265Depacketizer) aggregate(dst, b []byte) ([]byte, bool) {
	whole := !d.fragment
	d.fragment = false
	for len(b) > 0 {
		if len(b) < 2 {
			return dst, false
		}
		n := int(binary.BigEndian.Uint16(b))
		b = b[2:]
		if n < 2 || n > len(b) || b[1]&7 == 0 {
			return dst, false
		}
		dst = d.nal(dst, b[:n])
		b = b[n:]
	}
	return dst, whole
}

// fragmentOf appends a fragment (RFC 7798 section 4.4.3).
func (d *h265Depacketizer) fragmentOf(dst, payload []byte) ([]byte, bool) {
	start, end, t, data := payload[2]&0x80 != 0, payload[2]&0x40 != 0, payload[2]&0x3f, payload[3:]
	if start == d.fragment || (start && end) || len(data) == 0 {
		return dst, false
	}
	if start {
		d.fragment = true
		dst = append(dst, annexBStart...)
		d.fragmentAt = len(dst)
		dst = append(append(dst, payload[0]&0x81|t<<1, payload[1]), data...)
		if h265Layer(payload) == 0 {
			d.note(dst[d.fragmentAt:])
		}
		return dst, true
	}
	dst = append(dst, data...)
	if end {
		d.fragment = false
		if h265Layer(dst[d.fragmentAt:]) != 0 {
			return dst[:d.fragmentAt-len(annexBStart)], true
		}
		d.set(dst[d.fragmentAt:])
	}
	return dst, true
}

func (d *h265Depacketizer) finish(dst []byte) ([]byte, traits, bool) {
	if d.fragment || d.headless {
		return dst, traits{}, false
	}
	d.sets.keep()
	if !d.slices {
		return dst[:0], traits{}, true // parameter sets or SEI under a timestamp of their own
	}
	is := traits{
		key:         d.kind >= hevcIRAP && d.kind <= hevcIRAPEnd,
		temporalID:  d.temporal,
		switchUp:    d.kind >= hevcTSA && d.kind <= hevcSTSAEnd,
		discardable: d.kind <= hevcSubEnd && d.kind%2 == 0 && d.temporal+1 == d.subs,
		pictureSize: d.size,
	}
	if is.key {
		dst = d.sets.complete(dst)
	}
	return dst, is, true
}
