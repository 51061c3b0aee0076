// Package swr binds libswresample for interleaved s16: another rate, another number of channels, or both, as a
// stream without seams. Where to cut the input makes no difference to the output.
package swr

// #cgo pkg-config: libswresample libavutil
// #cgo CFLAGS: -Wall -Wextra
// #include "resampler.h"
import "C"

import (
	"fmt"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/penstock-media/penstock/media/internal/cmem"
)

// Format is rate in Hz and number of interleaved channels.
type Format struct{ Rate, Channels int }

func (f Format) valid() bool {
	return f.Rate >= 1000 && f.Rate <= 192000 && (f.Channels == 1 || f.Channels == 2)
}

// Resampler converts one stream. One goroutine at a time may use it; Close may come at any time.
type Resampler struct {
	mu      sync.Mutex
	c       *C.SwrContext // nil when closed
	in, out Format
}

// Open makes a resampler. Stereo becomes mono by averaging, mono becomes stereo by doubling.
func Open(in, out Format) (*Resampler, error) {
	if !in.valid() || !out.valid() {
		return nil, fmt.Errorf("open %v to %v: %w", in, out, ErrFormat)
	}
	r := &Resampler{in: in, out: out}
	if ret := C.rsm_open(&r.c, C.int(in.Rate), C.int(in.Channels), C.int(out.Rate), C.int(out.Channels)); ret < 0 {
		return nil, fmt.Errorf("open %v to %v: %w", in, out, CodeError(ret))
	}
	cmem.Add(cmem.Resampler, 1, 0)
	return r, nil
}

// Process appends what src becomes to dst. Some samples wait inside for what follows them, see Delay.
func (r *Resampler) Process(dst, src []int16) ([]int16, error) {
	if len(src)%r.in.Channels != 0 {
		return dst, ErrInput
	}
	if len(src) == 0 {
		return dst, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.convert(dst, src)
}

// Flush appends what waits inside, as if silence followed, and begins anew.
func (r *Resampler) Flush(dst []int16) ([]int16, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	dst, err := r.convert(dst, nil)
	if err != nil {
		return dst, err
	}
	if ret := C.swr_init(r.c); ret < 0 {
		return dst, CodeError(ret)
	}
	return dst, nil
}

func (r *Resampler) convert(dst, src []int16) ([]int16, error) {
	if r.c == nil {
		return dst, ErrClosed
	}
	samples := len(src) / r.in.Channels
	space := int(C.swr_get_out_samples(r.c, C.int(samples)))
	if space < 0 {
		return dst, CodeError(space)
	}
	space++
	at := len(dst)
	dst = slices.Grow(dst, space*r.out.Channels)[:at+space*r.out.Channels]
	n := C.rsm_convert(r.c, (*C.int16_t)(unsafe.SliceData(src)), C.int(samples), (*C.int16_t)(unsafe.SliceData(dst[at:])), C.int(space))
	if n < 0 {
		return dst[:at], CodeError(n)
	}
	return dst[:at+int(n)*r.out.Channels], nil
}

// Delay returns how long input waits inside, 0 when closed.
func (r *Resampler) Delay() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.c == nil {
		return 0
	}
	return time.Duration(C.swr_get_delay(r.c, C.int64_t(time.Second)))
}

// Close frees the resampler. It is idempotent.
func (r *Resampler) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.c != nil {
		C.rsm_close(r.c)
		r.c = nil
		cmem.Add(cmem.Resampler, -1, 0)
	}
	return nil
}
