// Package cmem counts the C memory that the media bindings hold, so that a test, or a metric, can ask for what is left.
//
// The counters lie in C, one table for the process as there is one C heap: buffers are freed by C callbacks, on
// whatever thread drops the last reference, and those cannot call back into Go cheaply.
package cmem

// #include "cmem.h"
// #include <malloc.h>
// #include <stdlib.h>
//
// static int penstock_trim(void) {
// #ifdef __GLIBC__
//   return malloc_trim(0);
// #else
//   return 0;
// #endif
// }
//
// static void penstock_tune(int arenas, int apart) {
// #ifdef __GLIBC__
//   mallopt(M_ARENA_MAX, arenas);
//   mallopt(M_MMAP_THRESHOLD, apart);
//   mallopt(M_TRIM_THRESHOLD, 8 * apart);
// #endif
// }
//
// typedef struct {
//   size_t used, free;
// } penstock_heap;
//
// static penstock_heap penstock_heap_now(void) {
// #ifdef __GLIBC__
//   struct mallinfo2 m = mallinfo2();
//   return (penstock_heap){m.uordblks + m.hblkhd, m.fordblks};
// #else
//   return (penstock_heap){0, 0};
// #endif
// }
import "C"

import (
	"fmt"
	"sync/atomic"
	"unsafe"
)

// Kind is a kind of C object.
type Kind int

// The kinds that are counted.
const (
	Decoder       Kind = iota // codec contexts and their input buffers
	PictureBuffer             // blocks of pixels, in a decoder, in its pool, or out
	Picture                   // pictures handed out and not released
	Encoder                   // JPEG compressors
	Resampler                 // libswresample contexts
	kinds
)

var names = [kinds]string{"decoder", "picture buffer", "picture", "encoder", "resampler"}

// String returns the kind in words.
func (k Kind) String() string {
	if k < 0 || k >= kinds {
		return fmt.Sprintf("kind(%d)", int(k))
	}
	return names[k]
}

// Usage is what is held of one kind.
type Usage struct {
	Kind    Kind
	Objects int64
	Bytes   int64 // what we asked for; the libraries' own needs are not known
}

// Add counts objects and bytes up, or down when negative. It is safe for concurrent use.
func Add(k Kind, objects, bytes int64) {
	c := &C.penstock_cmem[k]
	atomic.AddInt64((*int64)(unsafe.Pointer(&c.objects)), objects)
	atomic.AddInt64((*int64)(unsafe.Pointer(&c.bytes)), bytes)
}

// Counter returns the address of the kind's cmem_counter, for C code that counts by itself with relaxed atomics.
// It is valid for ever.
func Counter(k Kind) unsafe.Pointer { return unsafe.Pointer(&C.penstock_cmem[k]) }

// Live returns what is held now, without the kinds of which nothing is. Safe for concurrent use; the figures of
// different kinds are not read at one instant.
func Live() []Usage {
	var live []Usage
	for k := range kinds {
		c := &C.penstock_cmem[k]
		u := Usage{
			Kind:    k,
			Objects: atomic.LoadInt64((*int64)(unsafe.Pointer(&c.objects))),
			Bytes:   atomic.LoadInt64((*int64)(unsafe.Pointer(&c.bytes))),
		}
		if u.Objects != 0 || u.Bytes != 0 {
			live = append(live, u)
		}
	}
	return live
}

// apart is from how many bytes on an allocation has pages of its own: pictures, and the large tables of decoders.
const apart = 128 << 10

// Tune tells the allocator how this process uses memory. What is large has pages of its own, which go back to the system when it is freed; glibc
// raises that bound with the first large allocation that is freed, and pictures of decoders that come and go then leave holes between
// each other, in each arena. For threads that use C memory at the same time there are so many arenas, rather than eight a core. It may be called again.
func Tune(threads int) { C.penstock_tune(C.int(max(threads, 1)), apart) }

// allocate and release are for tests, which cannot speak C.
func allocate(n, size int) (blocks []unsafe.Pointer) {
	for range n {
		blocks = append(blocks, C.malloc(C.size_t(size)))
	}
	return blocks
}

func release(blocks []unsafe.Pointer) {
	for _, b := range blocks {
		C.free(b)
	}
}

// Trim gives memory that is free back to the system. glibc keeps what was freed in the arenas of each thread, and after many
// decoders have come and gone that is most of the process. It takes milliseconds, in which other threads may wait.
func Trim() { C.penstock_trim() }

// Heap is the C library's heap, all of it: what the libraries allocate for themselves too.
type Heap struct {
	Used int64 // bytes that are allocated
	Free int64 // bytes that were freed and that the allocator keeps; what a trim gave back is among them
}

// HeapNow asks the allocator. It takes its locks one by one, for microseconds. Zero where the C library is not glibc.
func HeapNow() Heap {
	h := C.penstock_heap_now()
	return Heap{Used: int64(h.used), Free: int64(h.free)}
}
