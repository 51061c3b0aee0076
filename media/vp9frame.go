package media

import "math/bits"

// vp9Readable tells whether a frame begins as one does. What does not may be encrypted.
func vp9Readable(frame []byte) bool { return len(frame) > 0 && frame[0]>>6 == 2 }

// splitVP9Superframe returns the frames of a superframe (VP9 bitstream specification, Annex B), or the frame itself.
func splitVP9Superframe(b []byte) [][]byte {
	if len(b) == 0 || b[len(b)-1]&0xe0 != 0xc0 {
		return [][]byte{b}
	}
	marker := b[len(b)-1]
	width, n := int(marker>>3&3)+1, int(marker&7)+1
	index := len(b) - 2 - width*n
	if index < 0 || b[index] != marker {
		return [][]byte{b}
	}
	var frames [][]byte
	at := 0
	for i := range n {
		size := 0
		for j := range width {
			size |= int(b[index+1+i*width+j]) << (8 * j)
		}
		if size > index-at {
			return [][]byte{b}
		}
		if size > 0 {
			frames = append(frames, b[at:at+size])
		}
		at += size
	}
	return frames
}

// appendVP9Index ends a superframe of frames of these sizes, at most maxVP9Frames.
func appendVP9Index(b []byte, sizes []int) []byte {
	largest := 0
	for _, n := range sizes {
		largest = max(largest, n)
	}
	width := max((bits.Len(uint(largest))+7)/8, 1)
	marker := byte(0xc0 | (width-1)<<3 | (len(sizes) - 1))
	b = append(b, marker)
	for _, n := range sizes {
		for j := range width {
			b = append(b, byte(n>>(8*j)))
		}
	}
	return append(b, marker)
}

// vp9State is what a reader of frame headers keeps: the size of each reference, since a frame may take its own from one.
type vp9State struct {
	slots [8]pictureSize
}

// vp9Sync is frame_sync_code.
const vp9Sync = 0x498342

// read reads an uncompressed header (VP9 bitstream specification section 6.2) and notes in is what it says. The picture's
// size is the last frame's: that of its highest layer.
func (s *vp9State) read(frame []byte, is *traits, first bool) {
	r := &bitReader{data: frame}
	if r.bits(2) != 2 {
		is.discardable = false
		return
	}
	profile := r.bit() | r.bit()<<1
	if profile == 3 {
		r.skip(1)
	}
	if r.bit() == 1 { // show_existing_frame
		is.pictureSize, is.discardable = s.slots[r.bits(3)], false
		return
	}
	key, shown, resilient := r.bit() == 0, r.bit() == 1, r.bit() == 1
	size, refresh := s.frame(r, profile, key, shown, resilient)
	if r.bad {
		is.discardable = false
		return
	}
	is.pictureSize = size
	is.key = is.key || first && key
	for i := range s.slots {
		if refresh>>i&1 == 1 {
			s.slots[i] = size
		}
	}
	if refresh != 0 {
		is.discardable = false
	}
	if !resilient && !key { // what it learns of probabilities others may build on
		r.skip(1)
		if r.bit() == 0 {
			r.skip(2)
		}
		is.discardable = is.discardable && r.bit() == 0
	}
}

// frame reads on from error_resilient_mode to the size, and returns which references the frame replaces.
func (s *vp9State) frame(r *bitReader, profile uint32, key, shown, resilient bool) (size pictureSize, refresh uint32) {
	intra := false
	if !key {
		intra = !shown && r.bit() == 1
		if !resilient {
			r.skip(2)
		}
	}
	switch {
	case key:
		s.sync(r)
		skipVP9Colour(r, profile)
		return readVP9Size(r), 0xff
	case intra:
		s.sync(r)
		if profile > 0 {
			skipVP9Colour(r, profile)
		}
		refresh = r.bits(8)
		return readVP9Size(r), refresh
	}
	refresh = r.bits(8)
	var references [3]uint32
	for i := range references {
		references[i] = r.bits(3)
		r.skip(1)
	}
	for _, slot := range references {
		if r.bit() == 1 { // found_ref
			r.skip(renderVP9Bits(r))
			return s.slots[slot], refresh
		}
	}
	return readVP9Size(r), refresh
}

func (s *vp9State) sync(r *bitReader) {
	if r.bits(24) != vp9Sync {
		r.bad = true
	}
}

// renderVP9Bits is how long the rest of a render_size is.
func renderVP9Bits(r *bitReader) int {
	if r.bit() == 1 {
		return 32
	}
	return 0
}

func readVP9Size(r *bitReader) pictureSize {
	size := pictureSize{int(r.bits(16)) + 1, int(r.bits(16)) + 1}
	r.skip(renderVP9Bits(r))
	return size
}

// skipVP9Colour skips color_config (section 6.2.2).
func skipVP9Colour(r *bitReader, profile uint32) {
	if profile >= 2 {
		r.skip(1)
	}
	sampled := profile == 1 || profile == 3
	if r.bits(3) == 7 { // RGB
		if sampled {
			r.skip(1)
		}
		return
	}
	r.skip(1)
	if sampled {
		r.skip(3)
	}
}
