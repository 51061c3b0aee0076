package service

import (
	"sync/atomic"

	"google.golang.org/grpc/mem"
)

// payloadRef is the "pool" that the buffers of one payload go back to: it owns one reference to the payload and
// releases it when all of them were put.
//
// gRPC never frees the message that it was writing when its connection dies abruptly, so that Put may never be
// called. The payload comes back all the same: the transport reads the parts through the buffers, each buffer holds
// its payloadRef, and that holds the payload. So as long as the transport can still read the bytes the payload is
// reachable, and once the dead connection is garbage so is the payload, whose own clean-up (runtime.AddCleanup in
// media) then gives its memory back. What is lost in between is at most the message or two that flow control lets
// a stream have in the transport.
type payloadRef struct {
	payload payload
	left    atomic.Int32
	parts   [3][]byte // room for the planes of a picture
}

// Get implements mem.BufferPool. gRPC never asks a buffer's own pool for another.
func (r *payloadRef) Get(length int) *[]byte {
	b := make([]byte, length)
	return &b
}

// Put implements mem.BufferPool: one part is no longer read.
func (r *payloadRef) Put(*[]byte) {
	if r.left.Add(-1) == 0 {
		r.payload.Release()
	}
}

// withPayload appends the parts of a payload to a header, and takes over the caller's reference. Parts so small that
// gRPC would drop their pool are copied.
func withPayload(header mem.Buffer, p payload) mem.BufferSlice {
	parts := p.Parts()
	ref := &payloadRef{payload: p}
	views := ref.parts[:0]
	if len(parts) > len(ref.parts) {
		views = make([][]byte, 0, len(parts))
	}
	views = append(views, parts...)
	out := make(mem.BufferSlice, 1, 1+len(parts))
	out[0] = header
	// All parts are counted before the first can be put; one more is held until the end, for a payload all of
	// whose parts are copied.
	ref.left.Store(1)
	for i := range views {
		if mem.IsBelowBufferPoolingThreshold(cap(views[i])) {
			out = append(out, mem.SliceBuffer(append([]byte(nil), views[i]...)))
			continue
		}
		ref.left.Add(1)
		out = append(out, mem.NewBuffer(&views[i], ref))
	}
	ref.Put(nil)
	return out
}
