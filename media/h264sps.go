package media

import (
	"bytes"
	"errors"
	"slices"
)

var errBitsEnd = errors.New("media: parameter set ends early")

// promiseNoReordering returns the unit, in Annex B, with sequence parameter sets that say how many pictures wait for
// reordering: where a set says nothing it is made to say none. WebRTC sends no pictures out of order, but without the
// promise a decoder that sees a jump of the picture order count (loss, or a temporal layer that an SFU
// left out) begins to hold one picture back, and never stops. The unit itself is not changed.
func promiseNoReordering(unit []byte) []byte {
	for at := 0; ; {
		start := nextNAL(unit, at)
		if start < 0 || start >= len(unit) {
			return unit
		}
		kind := unit[start] & 31
		if kind >= 1 && kind <= nalIDR {
			return unit // parameter sets come before slices
		}
		end := len(unit)
		if next := nextNAL(unit, start); next >= 0 {
			end = next - 3
		}
		at = start
		if kind != nalSPS {
			continue
		}
		sps, err := spsWithoutReordering(unit[start:end])
		if err != nil || sps == nil {
			continue // the decoder will judge
		}
		unit = slices.Concat(unit[:start], sps, unit[end:])
		at = start + len(sps)
	}
}

// nextNAL returns where the first NAL unit begins whose start code is at or after at, or -1.
func nextNAL(unit []byte, at int) int {
	i := bytes.Index(unit[at:], []byte{0, 0, 1})
	if i < 0 {
		return -1
	}
	return at + i + 3
}

// spsWithoutReordering returns the set with max_num_reorder_frames 0, or nil when it has a bitstream restriction already.
func spsWithoutReordering(nal []byte) ([]byte, error) {
	r := &bitReader{data: unescape(nal[1:])}
	refs, _ := readSPS(r)
	vui := r.pos
	hasVUI := r.bit() == 1
	if hasVUI {
		skipVUI(r)
		vui = r.pos
		if r.bit() == 1 {
			return nil, nil
		}
	}
	if r.bad {
		return nil, errBitsEnd
	}
	w := &bitWriter{}
	for i := range vui {
		w.bits(uint32(r.data[i/8]>>(7-i%8))&1, 1)
	}
	if !hasVUI {
		w.bits(1, 1) // there is one now
		w.bits(0, 8) // no aspect ratio, overscan, signal type, chroma location, timing, HRD twice, picture structure
	}
	w.bits(1, 1) // bitstream_restriction_flag (Annex E.1.1)
	w.bits(1, 1) // motion vectors over the picture's edge: not restricted
	for _, v := range []uint32{0, 0, 16, 16, 0, refs} {
		w.ue(v) // bytes a picture, bits a macroblock, lengths of vectors: not restricted; reordered: none; buffered
	}
	w.bits(1, 1)
	return append([]byte{nal[0]}, escape(w.data)...), nil
}

// h264Size reads the shown size from a sequence parameter set; 0 when it cannot be read.
func h264Size(nal []byte) pictureSize {
	r := &bitReader{data: unescape(nal[1:])}
	if _, size := readSPS(r); !r.bad && size.width > 0 && size.height > 0 {
		return size
	}
	return pictureSize{}
}

// readSPS reads up to vui_parameters_present_flag (section 7.3.2.1.1), and returns max_num_ref_frames and the shown size.
func readSPS(r *bitReader) (refs uint32, size pictureSize) {
	profile := r.bits(8)
	r.skip(16)
	r.ue()
	chroma := uint32(1) // 4:2:0
	if slices.Contains([]uint32{100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}, profile) {
		chroma = skipHighProfile(r)
	}
	r.ue() // log2_max_frame_num_minus4
	switch r.ue() {
	case 0:
		r.ue()
	case 1:
		r.skip(1)
		r.ue() // se and ue have the same length
		r.ue()
		for n := r.ue(); n > 0 && !r.bad; n-- {
			r.ue()
		}
	}
	refs = r.ue()
	r.skip(1)
	size = pictureSize{16 * (int(r.ue()) + 1), 16 * (int(r.ue()) + 1)}
	fields := 1
	if r.bit() == 0 { // frame_mbs_only_flag
		fields = 2
		r.skip(1)
	}
	size.height *= fields
	r.skip(1)
	if r.bit() == 1 { // cropping, in samples of chroma
		x, y := 1, fields
		if chroma == 1 || chroma == 2 {
			x = 2
		}
		if chroma == 1 {
			y *= 2
		}
		size.width -= x * (int(r.ue()) + int(r.ue()))
		size.height -= y * (int(r.ue()) + int(r.ue()))
	}
	return refs, size
}

// skipHighProfile reads what only the higher profiles have, and returns chroma_format_idc.
func skipHighProfile(r *bitReader) (chroma uint32) {
	lists := 8
	if chroma = r.ue(); chroma == 3 {
		lists = 12
		r.skip(1)
	}
	r.ue() // depths
	r.ue()
	r.skip(1)
	if r.bit() == 0 {
		return chroma
	}
	for i := range lists {
		if r.bit() == 0 {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		last, next := 8, 8
		for j := 0; j < size && next != 0; j++ {
			next = (last + r.se()) & 255
			if next != 0 {
				last = next
			}
		}
	}
	return chroma
}

// skipVUI reads up to bitstream_restriction_flag (Annex E.1.1).
func skipVUI(r *bitReader) {
	if r.bit() == 1 && r.bits(8) == 255 { // aspect ratio
		r.skip(32)
	}
	if r.bit() == 1 { // overscan
		r.skip(1)
	}
	if r.bit() == 1 { // signal type
		r.skip(4)
		if r.bit() == 1 {
			r.skip(24)
		}
	}
	if r.bit() == 1 { // chroma location
		r.ue()
		r.ue()
	}
	if r.bit() == 1 { // timing
		r.skip(65)
	}
	hrd := false
	for range 2 { // NAL, VCL
		if r.bit() == 1 {
			hrd = true
			skipHRD(r)
		}
	}
	if hrd {
		r.skip(1)
	}
	r.skip(1) // picture structure
}

func skipHRD(r *bitReader) {
	n := r.ue()
	r.skip(8)
	for i := uint32(0); i <= n && !r.bad; i++ {
		r.ue()
		r.ue()
		r.skip(1)
	}
	r.skip(20)
}
