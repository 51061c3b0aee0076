package media

import (
	"math/bits"
	"sync"
)

// Buffers below minPooled bytes are left to the garbage collector; those above maxPooled are too rare to keep.
const (
	minPooledBits = 10
	maxPooledBits = 27
	// classesPerDouble bounds what is wasted to a quarter.
	classesPerDouble = 4
)

// bufferPools holds buffers that are free, by size class. It is a cache for the process and no state: the garbage
// collector empties it.
var bufferPools [(maxPooledBits - minPooledBits) * classesPerDouble]sync.Pool

// buffer is Go memory that is used again. It has one owner.
type buffer struct {
	bytes []byte
	class int // index in bufferPools, or -1
}

// newBuffer returns n bytes of any content.
func newBuffer(n int) *buffer {
	class, size := bufferClass(n)
	if class < 0 {
		return &buffer{bytes: make([]byte, n), class: -1}
	}
	if b, ok := bufferPools[class].Get().(*buffer); ok {
		b.bytes = b.bytes[:n]
		return b
	}
	return &buffer{bytes: make([]byte, n, size), class: class}
}

// free gives the memory back. nil is allowed.
func (b *buffer) free() {
	if b != nil && b.class >= 0 {
		bufferPools[b.class].Put(b)
	}
}

// payload hands the first n bytes and the buffer over to a payload.
func (b *buffer) payload(n int) *Payload {
	if b.class < 0 {
		return newPayload(nil, b.bytes[:n])
	}
	return newPayload(b.free, b.bytes[:n])
}

// bufferClass returns the class of the smallest size that holds n, or -1.
func bufferClass(n int) (class, size int) {
	if n <= 1<<minPooledBits || n > 1<<maxPooledBits {
		return -1, n
	}
	exponent := bits.Len(uint(n-1)) - 1 // 2^exponent < n <= 2^(exponent+1)
	quarter := (1 << exponent) / classesPerDouble
	part := (n - 1<<exponent + quarter - 1) / quarter // 1 to classesPerDouble
	return (exponent-minPooledBits)*classesPerDouble + part - 1, 1<<exponent + part*quarter
}
