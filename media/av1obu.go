package media

// obuHeader is an OBU without its size (AV1 bitstream specification section 5.3).
type obuHeader struct {
	kind              byte
	temporal, spatial uint8
	head              int // bytes of the header
	payload           []byte
}

// parseOBU reads a whole OBU, which may or may not have a size.
func parseOBU(b []byte) (h obuHeader, ok bool) {
	r := byteReader{data: b}
	h, ok = nextOBU(&r)
	return h, ok && b[0]&obuForbidden == 0
}

// appendOBU appends an OBU with its size.
func appendOBU(dst, b []byte, h obuHeader) []byte {
	dst = append(dst, b[0]|obuHasSize)
	if h.head == 2 {
		dst = append(dst, b[1])
	}
	n := len(h.payload)
	for ; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(append(dst, byte(n)), h.payload...)
}

// leb128 reads a size (section 4.10.5). What does not fit is bad.
func (r *byteReader) leb128() int {
	v := 0
	for i := range 8 {
		b := r.byte()
		v |= int(b&0x7f) << (7 * i)
		if b&0x80 == 0 {
			if v > maxUnitBytes {
				break
			}
			return v
		}
	}
	r.bad = true
	return 0
}

// take returns the next n bytes.
func (r *byteReader) take(n int) []byte {
	b := r.data
	r.skip(n)
	return b[:len(b)-len(r.data)]
}

// nextOBU takes an OBU. One without a size goes to the end.
func nextOBU(r *byteReader) (h obuHeader, ok bool) {
	first := r.byte()
	h.kind, h.head = first>>3&15, 1
	if first&obuExtended != 0 {
		layer := r.byte()
		h.temporal, h.spatial, h.head = layer>>5, layer>>3&3, 2
	}
	n := len(r.data)
	if first&obuHasSize != 0 {
		n = r.leb128()
	}
	h.payload = r.take(n)
	return h, !r.bad
}

// av1LayerEnd returns where the frames of a unit's first spatial layer end.
func av1LayerEnd(unit []byte) int {
	r := byteReader{data: unit}
	spatial, frames := uint8(0), false
	for len(r.data) > 0 {
		at := len(unit) - len(r.data)
		h, ok := nextOBU(&r)
		switch {
		case !ok:
			return len(unit)
		case frames && h.spatial > spatial:
			return at
		case h.kind == obuFrame || h.kind == obuFrameHeader:
			spatial, frames = h.spatial, true
		}
	}
	return len(unit)
}

// av1Size reads the largest size from the payload of a sequence header (section 5.5.1); 0 when it cannot be read.
func av1Size(payload []byte) pictureSize {
	r := &bitReader{data: payload}
	r.skip(4) // profile, still picture
	if r.bit() == 1 {
		r.skip(5) // reduced_still_picture_header: a level alone
	} else {
		skipAV1OperatingPoints(r)
	}
	w, h := int(r.bits(4))+1, int(r.bits(4))+1
	size := pictureSize{int(r.bits(w)) + 1, int(r.bits(h)) + 1}
	if r.bad {
		return pictureSize{}
	}
	return size
}

func skipAV1OperatingPoints(r *bitReader) {
	delay, model := 0, false
	if r.bit() == 1 { // timing
		r.skip(64)
		if r.bit() == 1 {
			r.ue() // uvlc has the same form
		}
		if model = r.bit() == 1; model {
			delay = int(r.bits(5)) + 1
			r.skip(32 + 5 + 5)
		}
	}
	display := r.bit() == 1
	for n := int(r.bits(5)) + 1; n > 0 && !r.bad; n-- {
		r.skip(12)
		if r.bits(5) > 7 {
			r.skip(1)
		}
		if model && r.bit() == 1 {
			r.skip(2*delay + 1)
		}
		if display && r.bit() == 1 {
			r.skip(4)
		}
	}
}
