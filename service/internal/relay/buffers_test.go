package relay

import (
	"math/bits"
	"sync"
	"testing"
	"time"
)

// buffers is a pool that counts, and that keeps all that it gets back, so that what is allocated does not hang on the garbage collector.
type buffers struct {
	mu   sync.Mutex
	free map[int][]*[]byte
	out  map[*[]byte]struct{}
	made int // buffers allocated
	bad  int // given back twice
}

// newBuffers returns a pool of which nothing may be out when the test has ended. It must be made before what uses it.
func newBuffers(t testing.TB) *buffers {
	b := &buffers{free: map[int][]*[]byte{}, out: map[*[]byte]struct{}{}}
	t.Cleanup(func() { b.allBack(t) })
	return b
}

// Get implements mem.BufferPool.
func (b *buffers) Get(n int) *[]byte {
	size := 1 << bits.Len(uint(max(n, 1)-1))
	b.mu.Lock()
	defer b.mu.Unlock()
	var p *[]byte
	if list := b.free[size]; len(list) > 0 {
		p = list[len(list)-1]
		b.free[size] = list[:len(list)-1]
	} else {
		v := make([]byte, size)
		p = &v
		b.made++
	}
	*p = (*p)[:n]
	b.out[p] = struct{}{}
	return p
}

// Put implements mem.BufferPool.
func (b *buffers) Put(p *[]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.out[p]; !ok {
		b.bad++
		return
	}
	delete(b.out, p)
	b.free[cap(*p)] = append(b.free[cap(*p)], p)
}

// allBack waits until nothing is out.
func (b *buffers) allBack(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(hang); ; time.Sleep(time.Millisecond) {
		b.mu.Lock()
		out, bad := len(b.out), b.bad
		b.mu.Unlock()
		if bad > 0 {
			t.Errorf("%d buffers were given back twice", bad)
			return
		}
		if out == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%d buffers never came back", out)
			return
		}
	}
}
