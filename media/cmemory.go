package media

import "github.com/penstock-media/penstock/media/internal/cmem"

// CMemory is what codecs hold outside of Go's heap, in the whole process.
type CMemory struct {
	Objects int64 // decoders, pictures and their buffers, encoders, resamplers
	Bytes   int64 // that were asked for; the libraries' own needs are not known
}

// CMemoryInUse returns what is held now. It is cheap and safe for concurrent use.
func CMemoryInUse() CMemory {
	var sum CMemory
	for _, u := range cmem.Live() {
		sum.Objects += u.Objects
		sum.Bytes += u.Bytes
	}
	return sum
}

// TrimCMemory gives C memory that is free back to the system. It takes milliseconds: call it when much was freed, not for
// each track. Safe for concurrent use.
func TrimCMemory() { cmem.Trim() }

// CHeap is the heap of C's allocator in this process: more than [CMemory], since it holds what the libraries need for themselves.
type CHeap struct {
	Used int64 // bytes that are allocated
	Free int64 // bytes that were freed and that the allocator keeps; what [TrimCMemory] gave back to the system is among them
}

// CHeapNow asks the allocator, which takes microseconds. Safe for concurrent use.
func CHeapNow() CHeap { return CHeap(cmem.HeapNow()) }
