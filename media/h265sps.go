package media

// h265Size reads the shown size from a sequence parameter set (ITU-T H.265 section 7.3.2.2), and how many temporal sub-layers
// there are. Both are 0 when it cannot be read.
func h265Size(nal []byte) (pictureSize, uint8) {
	if len(nal) < 3 {
		return pictureSize{}, 0
	}
	r := &bitReader{data: unescape(nal[2:])}
	r.skip(4)
	subs := r.bits(3)
	r.skip(1)
	skipH265Profile(r, subs)
	r.ue()
	chroma := r.ue()
	if chroma == 3 {
		r.skip(1)
	}
	w, h := int(r.ue()), int(r.ue())
	if r.bit() == 1 { // conformance window
		x, y := 1, 1
		if chroma == 1 || chroma == 2 {
			x = 2
		}
		if chroma == 1 {
			y = 2
		}
		w -= x * (int(r.ue()) + int(r.ue()))
		h -= y * (int(r.ue()) + int(r.ue()))
	}
	if r.bad || w <= 0 || h <= 0 {
		return pictureSize{}, 0
	}
	return pictureSize{w, h}, uint8(subs + 1)
}

// skipH265Profile skips profile_tier_level (section 7.3.3).
func skipH265Profile(r *bitReader, subs uint32) {
	const profile, level = 88, 8
	r.skip(profile + level)
	if subs == 0 {
		return
	}
	length := 0
	for i := range 8 {
		flags := r.bits(2) // for all eight, used or not
		if i >= int(subs) {
			continue
		}
		if flags&2 != 0 {
			length += profile
		}
		if flags&1 != 0 {
			length += level
		}
	}
	r.skip(length)
}
