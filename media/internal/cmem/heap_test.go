//go:build !asan

// The address sanitizer has an allocator of its own.

package cmem

import "testing"

// What is large comes from pages of its own, and goes back with them: nothing of it stays with the allocator.
func TestLargeMemoryGoesBackWhenItIsFreed(t *testing.T) {
	Tune(2)
	before := HeapNow()
	const blocks, size = 64, 1 << 20
	held := allocate(blocks, size)
	during := HeapNow()
	release(held)
	after := HeapNow()
	if during.Used < before.Used+blocks*size || after.Used > before.Used+size || after.Free > before.Free+size {
		t.Errorf("before %+v, during %+v, after %+v", before, during, after)
	}
	// The bound does not rise with what was freed.
	held = allocate(blocks, size)
	release(held[:blocks-1])
	if after = HeapNow(); after.Free > before.Free+size {
		t.Errorf("before %+v, with one block of many left %+v", before, after)
	}
	release(held[blocks-1:])
}
