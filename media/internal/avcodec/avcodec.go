// Package avcodec binds libavcodec's software decoders (FFmpeg 5.1 to 8): one access unit in, its picture out at once.
//
// Pictures are decoded into memory of our own, all planes in one block, without padding of rows where libavcodec's
// rules of alignment allow, so that they can be sent from where they lie. A picture with more pixels than allowed
// is refused before its memory is allocated.
package avcodec

// #cgo pkg-config: libavcodec libavutil
// #cgo CFLAGS: -Wall -Wextra
// #include <errno.h>
// #include <stdlib.h>
// #include "decoder.h"
import "C"

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/penstock-media/penstock/media/internal/cmem"
	"github.com/penstock-media/penstock/media/internal/picture"
)

// maxUnitBytes bounds an access unit or packet; libavcodec takes an int, less its padding.
const maxUnitBytes = 64 << 20

// VideoDecoder decodes one stream. Decode must not run concurrently with itself; Close may come at any time.
type VideoDecoder struct {
	mu sync.Mutex
	c  *C.avc_decoder // nil when closed
}

// OpenVideo opens the decoder that libavcodec knows by name ("vp8", "h264").
func OpenVideo(name string, maxPixels int) (*VideoDecoder, error) {
	if maxPixels <= 0 {
		return nil, fmt.Errorf("open %s: %w", name, ErrTooLarge)
	}
	cName := C.CString(name)
	defer C.free(unsafe.Pointer(cName))
	d := &VideoDecoder{}
	ret := C.avc_open_video(&d.c, cName, C.int64_t(maxPixels), cmem.Counter(cmem.Decoder), cmem.Counter(cmem.PictureBuffer))
	if ret < 0 {
		return nil, fmt.Errorf("open %s: %w", name, codeError(ret, 0))
	}
	return d, nil
}

// Decode appends to dst the pictures that unit completes, each with one reference that is the caller's, and carrying
// the tag of the unit it came of. unit is not kept. Pictures may come beside an error.
func (d *VideoDecoder) Decode(dst []picture.Picture, unit []byte, tag int64) ([]picture.Picture, error) {
	if len(unit) == 0 || len(unit) > maxUnitBytes {
		return dst, fmt.Errorf("unit of %d bytes: %w", len(unit), ErrInvalidData)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.c == nil {
		return dst, ErrClosed
	}
	ret := C.avc_decode_video(d.c, unsafe.Pointer(unsafe.SliceData(unit)), C.int(len(unit)), C.int64_t(tag))
	err := codeError(ret, d.c.refused)
	dst = d.take(dst)
	for d.c.count == C.AVC_MAX_OUT { // there may be more
		if ret = C.avc_decode_video(d.c, nil, 0, 0); err == nil {
			err = codeError(ret, d.c.refused)
		}
		dst = d.take(dst)
	}
	return dst, err
}

func (d *VideoDecoder) take(dst []picture.Picture) []picture.Picture {
	for i := range d.c.out[:d.c.count] {
		dst = append(dst, newPicture(&d.c.out[i]))
	}
	return dst
}

// Close frees the decoder. Pictures that are referenced live on. It is idempotent.
func (d *VideoDecoder) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.c != nil {
		C.avc_close(d.c)
		d.c = nil
	}
	return nil
}

// AudioDecoder decodes packets to interleaved s16. Decode must not run concurrently with itself.
type AudioDecoder struct {
	mu       sync.Mutex
	c        *C.avc_decoder
	channels int
}

// maxAudioChannels is what WebRTC's narrowband codecs ever carry.
const maxAudioChannels = 2

// OpenAudio opens the decoder that libavcodec knows by name ("pcm_mulaw"), for a stream of rate Hz.
func OpenAudio(name string, rate, channels int) (*AudioDecoder, error) {
	if rate <= 0 || channels < 1 || channels > maxAudioChannels {
		return nil, fmt.Errorf("open %s at %d Hz with %d channels: %w", name, rate, channels, ErrUnsupported)
	}
	cName := C.CString(name)
	defer C.free(unsafe.Pointer(cName))
	d := &AudioDecoder{channels: channels}
	if ret := C.avc_open_audio(&d.c, cName, C.int(rate), C.int(channels), cmem.Counter(cmem.Decoder)); ret < 0 {
		return nil, fmt.Errorf("open %s: %w", name, codeError(ret, 0))
	}
	return d, nil
}

// Decode appends a packet's samples to dst. maxSamples (per channel) bounds what one packet may hold.
func (d *AudioDecoder) Decode(dst []int16, packet []byte, maxSamples int) ([]int16, error) {
	if len(packet) == 0 || len(packet) > maxUnitBytes || maxSamples <= 0 {
		return dst, fmt.Errorf("packet of %d bytes: %w", len(packet), ErrInvalidData)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.c == nil {
		return dst, ErrClosed
	}
	at := len(dst)
	dst = grow(dst, maxSamples*d.channels)
	n := C.avc_decode_audio(d.c, unsafe.Pointer(unsafe.SliceData(packet)), C.int(len(packet)),
		(*C.int16_t)(unsafe.SliceData(dst[at:])), C.int(maxSamples))
	if n < 0 {
		return dst[:at], codeError(n, 0)
	}
	return dst[:at+int(n)*d.channels], nil
}

// Close frees the decoder. It is idempotent.
func (d *AudioDecoder) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.c != nil {
		C.avc_close(d.c)
		d.c = nil
	}
	return nil
}

func grow(s []int16, n int) []int16 {
	if len(s)+n <= cap(s) {
		return s[:len(s)+n]
	}
	return append(s, make([]int16, n)...)
}

func codeError(ret, refused C.int) error {
	switch {
	case ret >= 0:
		return nil
	case refused == C.AVC_REFUSED_SIZE:
		return ErrTooLarge
	case refused == C.AVC_REFUSED_FORMAT:
		return ErrUnsupported
	}
	switch ret {
	case C.AVERROR_INVALIDDATA:
		return ErrInvalidData
	case C.AVERROR_PATCHWELCOME, -C.ENOSYS:
		return ErrUnsupported
	case C.AVERROR_DECODER_NOT_FOUND:
		return ErrNoDecoder
	case -C.ENOMEM:
		return ErrNoMemory
	case -C.EINVAL, -C.ERANGE, -C.EPERM: // sizes that libavcodec itself refuses; -1 is what HEVC of FFmpeg 7 says of some damage
		return fmt.Errorf("%w: %w", ErrInvalidData, CodeError(ret))
	default:
		return CodeError(ret)
	}
}
