package media

import (
	"runtime"
	"sync/atomic"
)

// Payload is the bytes of a frame, in one or more parts that follow each other. It is read-only and
// reference-counted, and may be shared by many consumers. Parts may lie in C memory: nobody may touch them
// after the last Release.
//
// A Payload that is garbage collected while references are out gives its memory back all the same. That covers
// gRPC, which never frees the message it was writing when a connection dies: as long as the transport can
// still read the parts it also holds the Payload. (See service's codec.)
type Payload struct {
	parts   [][]byte
	length  int
	refs    atomic.Int32
	release func()
	cleanup runtime.Cleanup
}

// newPayload returns a payload with one reference. release is called exactly once, when the last reference is
// gone or the payload is collected; it must not refer to the payload. nil is for plain Go memory.
func newPayload(release func(), parts ...[]byte) *Payload {
	p := &Payload{parts: parts, release: release}
	for _, b := range parts {
		p.length += len(b)
	}
	p.refs.Store(1)
	if release != nil {
		p.cleanup = runtime.AddCleanup(p, func(f func()) { f() }, release)
	}
	return p
}

// Parts returns the bytes, in order. They are valid until the caller's reference is released.
func (p *Payload) Parts() [][]byte { return p.parts }

// Len returns the number of bytes in all parts.
func (p *Payload) Len() int { return p.length }

// Retain adds a reference. The caller must hold one.
func (p *Payload) Retain() {
	if p.refs.Add(1) <= 1 {
		panic("media: payload retained after release")
	}
}

// Release gives a reference back. One call too many panics: it would hand out memory twice.
func (p *Payload) Release() {
	switch n := p.refs.Add(-1); {
	case n > 0:
		return
	case n < 0:
		panic("media: payload released twice")
	}
	p.parts = nil
	if p.release != nil {
		p.cleanup.Stop()
		p.release()
	}
	runtime.KeepAlive(p)
}
