package media

import "encoding/binary"

// NAL unit types of ITU-T H.264 table 7-1 and RFC 6184 section 5.2.
const (
	nalIDR = 5
	nalSPS = 7
	nalPPS = 8
	// Types from nalReserved on are not used but for two, and those of packets.
	nalReserved  = 16
	nalAuxiliary = 19
	nalExtension = 20
	nalSTAPA     = 24
	nalFUA       = 28
)

var annexBStart = []byte{0, 0, 0, 1}

// h264Depacketizer reads RFC 6184, packetization modes 0 and 1, into an Annex B byte stream.
type h264Depacketizer struct {
	sets parameterSets
	size pictureSize // of the newest sequence parameter set that was kept
	next pictureSize // of the unit's

	fragment    bool // a fragmented NAL unit is under way
	fragmentAt  int  // where it begins
	idr, slices bool
	nonIDRSlice bool
	unknown     bool // there are NAL units of reserved types
	headless    bool // the picture's first slice is missing
	referred    bool // other pictures may refer to it
}

func newH264Depacketizer(fmtp string) *h264Depacketizer {
	d := &h264Depacketizer{sets: newParameterSets(fmtp, h264SetKind)}
	if sps := d.sets.kept[h264SetKind([]byte{nalSPS})]; len(sps) > len(annexBStart) {
		d.next = h264Size(sps[len(annexBStart):])
	}
	return d
}

// h264SetKind orders parameter sets: a picture's refers to the sequence's.
func h264SetKind(nal []byte) int {
	switch nal[0] & 0x1f {
	case nalSPS:
		return 0
	case nalPPS:
		return 1
	default:
		return -1
	}
}

func (d *h264Depacketizer) begin() {
	d.fragment, d.idr, d.slices, d.nonIDRSlice, d.headless, d.referred, d.unknown = false, false, false, false, false, false, false
	d.sets.begin()
}

func (d *h264Depacketizer) append(dst, payload []byte) ([]byte, bool) {
	if len(payload) == 0 {
		return dst, false
	}
	switch t := payload[0] & 0x1f; {
	case t == 0, t >= nalSTAPA && len(payload) < 2:
		return dst, false // an end of sequence has one byte
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
	d.note(nal[0], nal[1:])
	d.set(nal)
	return append(append(dst, annexBStart...), nal...)
}

// set notes a parameter set.
func (d *h264Depacketizer) set(nal []byte) {
	d.sets.note(h264SetKind(nal), nal)
	if nal[0]&0x1f == nalSPS {
		if size := h264Size(nal); size != (pictureSize{}) {
			d.next = size
		}
	}
}

// note remembers what the unit holds. The first slice of a picture begins with macroblock 0, which is a single 1 bit
// (ITU-T H.264 section 7.3.3); when it does not, the picture's beginning is missing.
func (d *h264Depacketizer) note(header byte, data []byte) {
	t := header & 0x1f
	if t < 1 || t > nalIDR {
		d.unknown = d.unknown || t == 0 || t >= nalReserved && t != nalAuxiliary && t != nalExtension
		return
	}
	d.headless = d.headless || !d.slices && (len(data) == 0 || data[0]&0x80 == 0)
	d.referred = d.referred || header&0x60 != 0 // nal_ref_idc
	d.slices = true
	if t == nalIDR {
		d.idr = true
	} else {
		d.nonIDRSlice = true
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
		dst = append(dst, annexBStart...)
		d.fragmentAt = len(dst)
		dst = append(dst, indicator&0xe0|t)
	}
	dst = append(dst, data...)
	if end {
		d.fragment = false
		d.set(dst[d.fragmentAt:])
	}
	return dst, true
}

func (d *h264Depacketizer) finish(dst []byte) ([]byte, traits, bool) {
	if d.fragment || d.headless {
		return dst, traits{}, false
	}
	key := d.idr && !d.nonIDRSlice
	if key && d.next.blankAfter(d.size) {
		d.next = d.size // nor are its parameter sets those of what comes
		return dst, traits{blank: true}, true
	}
	d.size = d.next
	d.sets.keep()
	if !d.slices {
		return dst[:0], traits{}, !d.unknown // parameter sets or SEI under a timestamp of their own
	}
	is := traits{key: key, discardable: !d.referred, pictureSize: d.size}
	if is.key {
		dst = d.sets.complete(dst)
	}
	return dst, is, true
}
