package media

// maxVP9References is how many pictures a picture may refer to (RFC 9628 section 4.2).
const maxVP9References = 3

// vp9Descriptor is what is read of a payload descriptor (RFC 9628 section 4.2).
type vp9Descriptor struct {
	begin, end bool // of a layer's frame
	predicted  bool // from another picture
	layered    bool // temporal, spatial and up are told
	temporal   uint8
	spatial    uint8
	up         bool // those of higher temporal layers that follow refer to no earlier one above this layer
}

// parseVP9Descriptor returns the payload behind the descriptor. The scalability structure and the lists of references are skipped: the
// bitstream says it all.
func parseVP9Descriptor(b []byte) (d vp9Descriptor, payload []byte, ok bool) {
	r := byteReader{data: b}
	flags := r.byte()
	d = vp9Descriptor{begin: flags&0x08 != 0, end: flags&0x04 != 0, predicted: flags&0x40 != 0, layered: flags&0x20 != 0}
	flexible := flags&0x10 != 0
	if flags&0x80 != 0 && r.byte()&0x80 != 0 { // the picture id has 15 bits
		r.byte()
	}
	if d.layered {
		layer := r.byte()
		d.temporal, d.up, d.spatial = layer>>5, layer&0x10 != 0, layer>>1&7
		if !flexible {
			r.byte() // TL0PICIDX
		}
	}
	if flexible && d.predicted {
		n := 1
		for ; r.byte()&1 != 0; n++ {
			if n == maxVP9References {
				return d, nil, false
			}
		}
	}
	if flags&0x02 != 0 {
		skipVP9Structure(&r)
	}
	return d, r.rest(), !r.bad && len(r.rest()) > 0
}

// skipVP9Structure skips a scalability structure (RFC 9628 section 4.2.1).
func skipVP9Structure(r *byteReader) {
	flags := r.byte()
	if flags&0x10 != 0 {
		r.skip(4 * (int(flags>>5) + 1)) // each layer's size
	}
	if flags&0x08 == 0 {
		return
	}
	for n := int(r.byte()); n > 0 && !r.bad; n-- {
		r.skip(int(r.byte() >> 2 & 3))
	}
}

// maxVP9Frames is how many frames an index of a superframe can list (VP9 bitstream specification, Annex B).
const maxVP9Frames = 8

// vp9Depacketizer reads RFC 9628, both modes. The frames of a picture's spatial layers become one superframe.
type vp9Depacketizer struct {
	state   vp9State
	starts  [maxVP9Frames]int // of the layers' frames
	frames  int
	open    bool // the last frame has no end yet
	broken  bool
	first   vp9Descriptor // of the unit
	entries temporalEntries
}

func (d *vp9Depacketizer) begin() { d.frames, d.open, d.broken = 0, false, false }

func (d *vp9Depacketizer) append(dst, payload []byte) ([]byte, bool) {
	head, data, ok := parseVP9Descriptor(payload)
	if !ok {
		return dst, false
	}
	switch {
	case head.begin == d.open, head.begin && d.frames == maxVP9Frames:
		d.broken = true // a frame's beginning or end is missing
		return dst, false
	case head.begin:
		if d.frames == 0 {
			d.first = head
		}
		d.starts[d.frames] = len(dst)
		d.frames++
	}
	d.open = !head.end
	return append(dst, data...), true
}

func (d *vp9Depacketizer) finish(dst []byte) ([]byte, traits, bool) {
	if d.open || d.broken || d.frames == 0 {
		return dst, traits{}, false
	}
	sizes := make([]int, 0, maxVP9Frames)
	out := dst
	if d.frames > 1 {
		out = dst[:0]
	}
	is := traits{discardable: true}
	for i := range d.frames {
		end := len(dst)
		if i+1 < d.frames {
			end = d.starts[i+1]
		}
		layer := dst[d.starts[i]:end]
		parts := splitVP9Superframe(layer)
		if len(sizes)+len(parts) > maxVP9Frames {
			return dst, traits{}, false
		}
		for j, frame := range parts {
			d.state.read(frame, &is, i == 0 && j == 0)
			sizes = append(sizes, len(frame))
			if d.frames > 1 {
				out = append(out, frame...) // never beyond where it is read from
			}
		}
	}
	if d.frames > 1 {
		out = appendVP9Index(out, sizes)
	}
	is.key = is.key || !d.first.predicted && d.first.spatial == 0 && !vp9Readable(out)
	d.layer(&is)
	return out, is, true
}

// layer fills in what the descriptor says of the temporal layer.
func (d *vp9Depacketizer) layer(is *traits) {
	if !d.first.layered {
		return
	}
	enters := uint8(0)
	if d.first.up {
		enters = 0xfe << d.first.temporal // every higher one
	}
	is.temporalID, is.switchUp = d.first.temporal, d.entries.pass(d.first.temporal, enters)
}
