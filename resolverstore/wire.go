package resolverstore

import (
	"encoding/binary"
	"errors"
	"time"
)

// This file is how values are written in Redis: a byte that is the version, then the parts one after another. Numbers are
// varints, texts and bytes have their length before them, times are nanoseconds since 1970 and 0 for none. A reader of this
// version takes what ends early as zero, and leaves what follows: so that parts may be added at the end.

// wireVersion is the first byte of each value.
const wireVersion = 1

var errWire = errors.New("not a value of this store")

// writer appends parts.
type writer struct{ b []byte }

func newWriter() *writer { return &writer{b: []byte{wireVersion}} }

func (w *writer) uint(v uint64) *writer { w.b = binary.AppendUvarint(w.b, v); return w }

func (w *writer) text(s string) *writer {
	w.b = append(binary.AppendUvarint(w.b, uint64(len(s))), s...)
	return w
}

func (w *writer) flag(v bool) *writer {
	if v {
		return w.uint(1)
	}
	return w.uint(0)
}

func (w *writer) time(t time.Time) *writer { return w.uint(uint64(nanos(t))) }

func (w *writer) done() string { return string(w.b) }

// nanos returns a time as it is written.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// reader takes parts. After a fault all that it returns is zero, and err tells.
type reader struct {
	s   string
	err error
}

func newReader(s string) *reader {
	if s == "" || s[0] != wireVersion {
		return &reader{err: errWire}
	}
	return &reader{s: s[1:]}
}

func (r *reader) uint() uint64 {
	if r.err != nil || r.s == "" {
		return 0
	}
	var v uint64
	for i := range min(len(r.s), binary.MaxVarintLen64) {
		v |= uint64(r.s[i]&0x7f) << (7 * i)
		if r.s[i] < 0x80 {
			r.s = r.s[i+1:]
			return v
		}
	}
	r.err = errWire
	return 0
}

func (r *reader) text() string {
	n := r.uint()
	if r.err != nil || n > uint64(len(r.s)) {
		r.err, r.s = errWire, ""
		return ""
	}
	out := r.s[:n]
	r.s = r.s[n:]
	return out
}

func (r *reader) flag() bool { return r.uint() != 0 }

func (r *reader) time() time.Time {
	v := r.uint()
	if v == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(v))
}

// count returns how many things follow: never more than bytes are left, so that junk allocates nothing.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.s)) {
		r.err, r.s = errWire, ""
		return 0
	}
	return int(n)
}
