// Package jpeg binds libjpeg-turbo's compressor: baseline JFIF, 4:2:0.
//
// It takes RGBA rows and not the decoder's YUV: JFIF is BT.601 in full range, which decoded video seldom is, and
// libyuv's way through RGB is right for every matrix and range.
package jpeg

// #cgo pkg-config: libjpeg
// #cgo CFLAGS: -Wall -Wextra
// #include "encoder.h"
import "C"

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/penstock-media/penstock/media/internal/cmem"
)

// MaxSide is the largest width or height, in pixels (ITU-T T.81).
const MaxSide = 65500

// Encoder compresses pictures, one at a time, of any size. It is safe for concurrent use.
type Encoder struct {
	mu sync.Mutex
	c  *C.jpx_encoder // nil when closed
}

// Open makes an encoder.
func Open() (*Encoder, error) {
	c := C.jpx_open()
	if c == nil {
		return nil, ErrNoMemory
	}
	cmem.Add(cmem.Encoder, 1, 0)
	return &Encoder{c: c}, nil
}

// EncodeRGBA writes a picture of bytes R, G, B, ignored, rows without padding, to dst and returns how many bytes it took.
// quality is 1 to 100. When dst is too small the error is ErrTooSmall.
func (e *Encoder) EncodeRGBA(dst, rgba []byte, width, height, quality int) (int, error) {
	if width < 1 || height < 1 || width > MaxSide || height > MaxSide || quality < 1 || quality > 100 ||
		len(rgba) < width*height*4 || len(dst) == 0 {
		return 0, fmt.Errorf("%d×%d at %d: %w", width, height, quality, ErrInput)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.c == nil {
		return 0, ErrClosed
	}
	n := C.jpx_encode_rgba(e.c, (*C.uint8_t)(unsafe.SliceData(rgba)), C.int(width*4), C.int(width), C.int(height), C.int(quality),
		(*C.uint8_t)(unsafe.SliceData(dst)), C.ulong(len(dst)))
	switch n {
	case C.JPX_TOO_SMALL:
		return 0, ErrTooSmall
	case C.JPX_NO_MEMORY:
		return 0, ErrNoMemory
	case C.JPX_FAILED:
		return 0, ErrFailed
	}
	return int(n), nil
}

// Close frees the encoder. It is idempotent.
func (e *Encoder) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.c != nil {
		C.jpx_close(e.c)
		e.c = nil
		cmem.Add(cmem.Encoder, -1, 0)
	}
	return nil
}
