// Package opus binds libopus's decoder: at the rate and with the channels that are wanted, with in-band FEC and
// concealment (RFC 6716, RFC 7587).
package opus

// #cgo pkg-config: opus
// #cgo CFLAGS: -Wall -Wextra
// #include "decoder.h"
import "C"

import (
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"github.com/penstock-media/penstock/media/internal/cmem"
)

// MaxPacketMillis is the longest packet (RFC 6716 section 3.2.5).
const MaxPacketMillis = 120

// Rates returns the rates in Hz that libopus decodes to, ascending.
func Rates() []int { return []int{8000, 12000, 16000, 24000, 48000} }

// Decoder decodes one stream to interleaved s16. One goroutine at a time may decode; Close may come at any time.
type Decoder struct {
	mu             sync.Mutex
	c              *C.OpusDecoder // nil when closed
	size           int64
	rate, channels int
}

// Open makes a decoder whose output has the rate in Hz and the channels, whatever the stream has.
func Open(rate, channels int) (*Decoder, error) {
	if !slices.Contains(Rates(), rate) || channels < 1 || channels > 2 {
		return nil, fmt.Errorf("open for %d Hz, %d channels: %w", rate, channels, ErrFormat)
	}
	var ret C.int
	c := C.opus_decoder_create(C.opus_int32(rate), C.int(channels), &ret)
	if ret != C.OPUS_OK {
		return nil, fmt.Errorf("open: %w", codeError(ret))
	}
	d := &Decoder{c: c, size: int64(C.opus_decoder_get_size(C.int(channels))), rate: rate, channels: channels}
	cmem.Add(cmem.Decoder, 1, d.size)
	return d, nil
}

// Decode appends a packet's samples to dst.
func (d *Decoder) Decode(dst []int16, packet []byte) ([]int16, error) {
	if len(packet) == 0 {
		return dst, fmt.Errorf("empty: %w", ErrInvalidPacket)
	}
	return d.decode(dst, packet, d.rate*MaxPacketMillis/1000, 0)
}

// DecodeFEC appends samples (per channel) in place of the packet just before next: concealed but for the end, which
// comes from next's in-band FEC if it has any, see [HasFEC].
func (d *Decoder) DecodeFEC(dst []int16, next []byte, samples int) ([]int16, error) {
	if len(next) == 0 {
		return dst, fmt.Errorf("empty: %w", ErrInvalidPacket)
	}
	if longest := d.rate * MaxPacketMillis / 1000; samples > longest {
		var err error
		if dst, err = d.Conceal(dst, samples-longest); err != nil {
			return dst, err
		}
		samples = longest
	}
	return d.fill(dst, next, samples, 1)
}

// Conceal appends samples (per channel) in place of lost packets. It fades to silence.
func (d *Decoder) Conceal(dst []int16, samples int) ([]int16, error) {
	longest := d.rate * MaxPacketMillis / 1000
	for samples > 0 {
		n := min(samples, longest)
		var err error
		if dst, err = d.fill(dst, nil, n, 0); err != nil {
			return dst, err
		}
		samples -= n
	}
	return dst, nil
}

// fill decodes to exactly samples; libopus counts in steps of 2.5 ms, what is over is cut off.
func (d *Decoder) fill(dst []int16, packet []byte, samples int, fec C.int) ([]int16, error) {
	if samples <= 0 {
		return dst, nil
	}
	step := d.rate / 400
	at := len(dst)
	dst, err := d.decode(dst, packet, (samples+step-1)/step*step, fec)
	if err != nil {
		return dst, err
	}
	return dst[:min(len(dst), at+samples*d.channels)], nil
}

func (d *Decoder) decode(dst []int16, packet []byte, samples int, fec C.int) ([]int16, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.c == nil {
		return dst, ErrClosed
	}
	at := len(dst)
	dst = slices.Grow(dst, samples*d.channels)[:at+samples*d.channels]
	n := C.opus_decode(d.c, (*C.uchar)(unsafe.SliceData(packet)), C.opus_int32(len(packet)),
		(*C.opus_int16)(unsafe.SliceData(dst[at:])), C.int(samples), fec)
	if n < 0 {
		return dst[:at], codeError(n)
	}
	return dst[:at+int(n)*d.channels], nil
}

// Close frees the decoder. It is idempotent.
func (d *Decoder) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.c != nil {
		C.opus_decoder_destroy(d.c)
		d.c = nil
		cmem.Add(cmem.Decoder, -1, -d.size)
	}
	return nil
}

// Samples returns the length of a packet, in samples per channel at 48 kHz, or an error when it is not a packet.
func Samples(packet []byte) (int, error) {
	if len(packet) == 0 {
		return 0, ErrInvalidPacket
	}
	n := C.opus_packet_get_nb_samples((*C.uchar)(unsafe.SliceData(packet)), C.opus_int32(len(packet)), 48000)
	if n <= 0 || n > 48*MaxPacketMillis {
		return 0, ErrInvalidPacket
	}
	return int(n), nil
}

// Channels returns the channels that a packet was coded with, 0 when it is empty.
func Channels(packet []byte) int {
	if len(packet) == 0 {
		return 0
	}
	return int(C.opus_packet_get_nb_channels((*C.uchar)(unsafe.SliceData(packet))))
}

// HasFEC tells whether a packet carries in-band FEC for the packet before it.
func HasFEC(packet []byte) bool {
	if len(packet) == 0 {
		return false
	}
	return C.opx_has_fec((*C.uchar)(unsafe.SliceData(packet)), C.opus_int32(len(packet))) > 0
}

func codeError(ret C.int) error {
	switch ret {
	case C.OPUS_INVALID_PACKET, C.OPUS_BUFFER_TOO_SMALL:
		return ErrInvalidPacket
	case C.OPUS_ALLOC_FAIL:
		return ErrNoMemory
	default:
		return CodeError(ret)
	}
}
