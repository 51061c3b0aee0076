package relay

import "testing"

// TestBufferPool: buffers have the length that was asked for, at least that capacity, and are handed out again for any length that they hold.
func TestBufferPool(t *testing.T) {
	var p bufferPool
	for _, length := range []int{0, 1, leastBuffer - 1, leastBuffer, leastBuffer + 1, 9000, 16 << 10, 16<<10 + 1, mostBuffer, mostBuffer + 1} {
		b := p.Get(length)
		if len(*b) != length || cap(*b) < length || cap(*b) > max(2*length, leastBuffer) {
			t.Errorf("of %d bytes there are %d and %d", length, len(*b), cap(*b))
		}
		p.Put(b)
		if again := p.Get(length); len(*again) != length {
			t.Errorf("of %d bytes there are %d the second time", length, len(*again))
		}
	}
	odd := make([]byte, 5000)
	p.Put(&odd) // is left to the collector
	for range 100 {
		if b := p.Get(5000); cap(*b) == 5000 {
			t.Fatal("a buffer that is no power of two is handed out")
		}
	}
}
