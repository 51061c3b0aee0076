package media

import "github.com/penstock-media/penstock/media/internal/picture"

// videoDecoder decodes one track's access units, in order. It is used by one goroutine at a time.
type videoDecoder interface {
	// Decode appends the pictures that the unit completes to dst, each with one reference that is the caller's.
	// The unit is not kept. An error leaves the decoder usable; errors.Is(err, ErrCorrupt) when the unit is at fault.
	Decode(dst []picture.Picture, unit []byte, tag int64) ([]picture.Picture, error)
	// Close frees everything but pictures that are still referenced. It is idempotent.
	Close() error
}

// audioDecoder decodes one track's packets, in order, to interleaved s16. It is used by one goroutine at a time.
type audioDecoder interface {
	// Rate and Channels say what comes out. They do not change.
	Rate() int
	Channels() int
	// Decode appends a packet's samples to dst.
	Decode(dst []int16, packet []byte) ([]int16, error)
	// Recover appends samples (per channel) in place of the packet that was lost just before next, from next's in-band
	// FEC if there is any, else concealed; recovered says which.
	Recover(dst []int16, next []byte, samples int) (out []int16, recovered bool, err error)
	// Conceal appends samples (per channel) in place of lost packets.
	Conceal(dst []int16, samples int) ([]int16, error)
	// Close is idempotent.
	Close() error
}
