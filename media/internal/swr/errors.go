package swr

import (
	"errors"
	"fmt"
)

var (
	// ErrFormat means that rate or channels are out of range.
	ErrFormat = errors.New("swr: rate must be 1000 to 192000 Hz, channels 1 or 2")
	// ErrInput means that the input is not whole samples.
	ErrInput = errors.New("swr: input is not a whole number of samples")
	// ErrClosed means that the resampler was closed.
	ErrClosed = errors.New("swr: resampler is closed")
)

// CodeError is an AVERROR of libswresample.
type CodeError int

// Error implements error.
func (e CodeError) Error() string { return fmt.Sprintf("swr: error %d", int(e)) }
