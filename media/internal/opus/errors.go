package opus

import (
	"errors"
	"fmt"
)

var (
	// ErrInvalidPacket means that a packet cannot be decoded.
	ErrInvalidPacket = errors.New("opus: invalid packet")
	// ErrFormat means that libopus does not decode to the rate or channels asked for.
	ErrFormat = errors.New("opus: rate must be 8000, 12000, 16000, 24000 or 48000 Hz, channels 1 or 2")
	// ErrNoMemory means that C memory could not be allocated.
	ErrNoMemory = errors.New("opus: out of memory")
	// ErrClosed means that the decoder was closed.
	ErrClosed = errors.New("opus: decoder is closed")
)

// CodeError is an error of libopus for which there is no sentence of its own.
type CodeError int

// Error implements error.
func (e CodeError) Error() string { return fmt.Sprintf("opus: error %d", int(e)) }
