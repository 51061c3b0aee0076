package relay

import (
	"math/bits"
	"sync"

	"google.golang.org/grpc/mem"
)

// The buffers that are kept: of powers of two between these, in bytes. A frame of HTTP/2 between pods holds 16 KiB.
const (
	leastBuffer = 1 << 10
	mostBuffer  = 64 << 10
	bufferSizes = 7
)

// bufferPool keeps buffers that messages are received into. gRPC's own pool clears each buffer that it hands out, which took a tenth of a relaying
// pod's time; here the transport fills every byte that it hands on. It is safe for concurrent use.
type bufferPool struct {
	sizes [bufferSizes]sync.Pool // of *[]byte, each twice as large as the one before
}

var _ mem.BufferPool = (*bufferPool)(nil)

// Get implements mem.BufferPool. What is in the buffer is not told.
func (p *bufferPool) Get(length int) *[]byte {
	if length > mostBuffer {
		b := make([]byte, length)
		return &b
	}
	i := sizeOf(max(length, leastBuffer))
	if b, ok := p.sizes[i].Get().(*[]byte); ok {
		*b = (*b)[:length]
		return b
	}
	b := make([]byte, leastBuffer<<i)[:length]
	return &b
}

// Put implements mem.BufferPool.
func (p *bufferPool) Put(b *[]byte) {
	if c := cap(*b); c >= leastBuffer && c <= mostBuffer && c&(c-1) == 0 {
		p.sizes[sizeOf(c)].Put(b)
	}
}

// sizeOf returns the number of the smallest size that holds so many bytes, at least leastBuffer and at most mostBuffer.
func sizeOf(length int) int { return bits.Len(uint(length-1)) - bits.Len(leastBuffer-1) }
