package media

// OBU types (AV1 bitstream specification section 6.2.2).
const (
	obuSequence    = 1
	obuDelimiter   = 2
	obuFrameHeader = 3
	obuFrame       = 6
	obuTileList    = 8
)

// Flags of an OBU header (section 5.3.2).
const (
	obuForbidden = 0x80
	obuExtended  = 0x04
	obuHasSize   = 0x02
)

// maxKeptFragments is how large a buffer for fragments is kept from one unit to the next.
const maxKeptFragments = 1 << 20

// av1Depacketizer reads the AOMedia RTP payload specification into temporal units in the low-overhead format (AV1 bitstream
// specification section 5.2): each begins with a temporal delimiter, and each OBU has its size.
type av1Depacketizer struct {
	sequence []byte // the newest sequence header, as it stands in a unit
	size     pictureSize

	obu        []byte // the fragments of the OBU under way
	open       bool   // it goes on in the next packet
	broken     bool
	begins     bool // the sender says that a coded video sequence begins
	unreadable bool // an OBU could not be read
	hasSets    bool // a sequence header is in the unit
	frames     bool // so is a frame
	key        bool
	temporal   uint8
}

func (d *av1Depacketizer) begin() {
	kept := d.obu[:0]
	if cap(kept) > maxKeptFragments {
		kept = nil
	}
	*d = av1Depacketizer{sequence: d.sequence, size: d.size, obu: kept}
}

// append reads one packet: an aggregation header (section 4.4 of the payload specification) and OBU elements.
func (d *av1Depacketizer) append(dst, payload []byte) ([]byte, bool) {
	r := byteReader{data: payload}
	header := r.byte()
	continues, goesOn, count := header&0x80 != 0, header&0x40 != 0, int(header>>4&3)
	starts := header&0x08 != 0
	if r.bad || continues != d.open || continues && starts {
		d.broken = true
		return dst, false
	}
	d.begins = d.begins || starts
	if len(dst) == 0 {
		dst = append(dst, obuDelimiter<<3|obuHasSize, 0)
	}
	for i := 1; len(r.rest()) > 0; i++ {
		size := len(r.rest())
		if count == 0 || i < count {
			size = r.leb128()
		}
		if r.bad || size > len(r.rest()) || count != 0 && i > count {
			d.broken = true
			return dst, false
		}
		element := r.take(size)
		last := len(r.rest()) == 0
		if len(dst)+len(d.obu)+len(element) > maxUnitBytes {
			d.broken = true
			return dst, false
		}
		d.obu = append(d.obu, element...)
		if d.open = last && goesOn; d.open {
			return dst, true
		}
		dst = d.element(dst, d.obu)
		d.obu = d.obu[:0]
	}
	d.broken = d.broken || d.open // an empty packet ends nothing
	return dst, !d.broken
}

// element appends a whole OBU with its size.
func (d *av1Depacketizer) element(dst, obu []byte) []byte {
	if len(obu) == 0 {
		return dst
	}
	header, ok := parseOBU(obu)
	if !ok { // encrypted, perhaps: the decoder will judge
		d.unreadable = true
		return append(dst, obu...)
	}
	if header.kind == obuDelimiter || header.kind == obuTileList {
		return dst // not to be sent, and to be ignored
	}
	at := len(dst)
	dst = appendOBU(dst, obu, header)
	d.note(header, dst[at:])
	return dst
}

// note remembers what the unit holds.
func (d *av1Depacketizer) note(h obuHeader, whole []byte) {
	switch h.kind {
	case obuSequence:
		d.hasSets = true
		if len(whole) <= maxSetBytes {
			d.sequence = append(d.sequence[:0], whole...)
		}
		if size := av1Size(h.payload); size != (pictureSize{}) {
			d.size = size
		}
	case obuFrame, obuFrameHeader:
		if !d.frames {
			// show_existing_frame is 0, frame_type KEY_FRAME, show_frame 1 (section 5.9.2).
			d.key = len(h.payload) > 0 && h.payload[0]>>4 == 0b0001
			d.temporal = h.temporal
		}
		d.frames = true
	}
}

func (d *av1Depacketizer) finish(dst []byte) ([]byte, traits, bool) {
	if d.open || d.broken {
		return dst, traits{}, false
	}
	if d.begins && (d.unreadable || !d.hasSets) {
		return dst, traits{key: true}, true // what should be a sequence header is none
	}
	if !d.frames && !d.unreadable {
		return dst[:0], traits{}, true
	}
	is := traits{key: d.key && len(d.sequence) > 0, temporalID: d.temporal, pictureSize: d.size}
	if is.key && !d.hasSets {
		const delimiter = 2
		n := len(dst)
		dst = append(dst, d.sequence...)
		copy(dst[delimiter+len(d.sequence):], dst[delimiter:n])
		copy(dst[delimiter:], d.sequence)
	}
	return dst, is, true
}
