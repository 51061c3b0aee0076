package media

import "math/bits"

// bitReader reads a parameter set. After its end everything is 0 and bad is set.
type bitReader struct {
	data []byte
	pos  int // in bits
	bad  bool
}

func (r *bitReader) bit() uint32 { return r.bits(1) }

// bits reads up to 32 bits, highest first.
func (r *bitReader) bits(n int) uint32 {
	var v uint32
	for range n {
		if r.pos >= 8*len(r.data) {
			r.bad = true
			return 0
		}
		v = v<<1 | uint32(r.data[r.pos/8]>>(7-r.pos%8))&1
		r.pos++
	}
	return v
}

func (r *bitReader) skip(n int) {
	r.pos += n
	if r.pos > 8*len(r.data) {
		r.bad = true
	}
}

// ue reads an unsigned Exp-Golomb code (ITU-T H.264 section 9.1).
func (r *bitReader) ue() uint32 {
	zeros := 0
	for r.bit() == 0 {
		if zeros++; zeros > 31 || r.bad {
			r.bad = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.bits(zeros)
}

// se reads a signed one.
func (r *bitReader) se() int {
	k := int(r.ue())
	if k%2 == 0 {
		return -k / 2
	}
	return (k + 1) / 2
}

// byteReader reads bytes. After their end everything is 0 and bad is set.
type byteReader struct {
	data []byte
	bad  bool
}

func (r *byteReader) byte() byte {
	if len(r.data) == 0 {
		r.bad = true
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *byteReader) skip(n int) {
	if n > len(r.data) {
		n, r.bad = len(r.data), true
	}
	r.data = r.data[n:]
}

func (r *byteReader) rest() []byte { return r.data }

// bitWriter is the reverse of bitReader; the last byte is filled with zeros.
type bitWriter struct {
	data []byte
	free int // bits of the last byte
}

func (w *bitWriter) bits(v uint32, n int) {
	for i := n - 1; i >= 0; i-- {
		if w.free == 0 {
			w.data, w.free = append(w.data, 0), 8
		}
		w.free--
		w.data[len(w.data)-1] |= byte(v>>i&1) << w.free
	}
}

func (w *bitWriter) ue(v uint32) {
	n := bits.Len32(v + 1)
	w.bits(0, n-1)
	w.bits(v+1, n)
}

// unescape removes emulation prevention bytes (ITU-T H.264 section 7.4.1).
func unescape(nal []byte) []byte {
	out := make([]byte, 0, len(nal))
	zeros := 0
	for _, b := range nal {
		if zeros >= 2 && b == 3 {
			zeros = 0
			continue
		}
		out = append(out, b)
		if zeros++; b != 0 {
			zeros = 0
		}
	}
	return out
}

// escape puts them in.
func escape(raw []byte) []byte {
	out := make([]byte, 0, len(raw)+len(raw)/2)
	zeros := 0
	for _, b := range raw {
		if zeros >= 2 && b <= 3 {
			out, zeros = append(out, 3), 0
		}
		out = append(out, b)
		if zeros++; b != 0 {
			zeros = 0
		}
	}
	return out
}
