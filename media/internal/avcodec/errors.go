package avcodec

import (
	"errors"
	"fmt"
)

var (
	// ErrInvalidData means that what was given cannot be decoded.
	ErrInvalidData = errors.New("avcodec: invalid data")
	// ErrTooLarge means that a picture was refused because it has more pixels than allowed.
	ErrTooLarge = errors.New("avcodec: picture is too large")
	// ErrUnsupported means that the stream uses what libavcodec, or this binding, does not do.
	ErrUnsupported = errors.New("avcodec: not supported")
	// ErrNoMemory means that C memory could not be allocated.
	ErrNoMemory = errors.New("avcodec: out of memory")
	// ErrNoDecoder means that this libavcodec was built without the decoder.
	ErrNoDecoder = errors.New("avcodec: no such decoder")
	// ErrClosed means that the decoder was closed.
	ErrClosed = errors.New("avcodec: decoder is closed")
)

// CodeError is an AVERROR for which there is no sentence of its own.
type CodeError int

// Error implements error.
func (e CodeError) Error() string { return fmt.Sprintf("avcodec: error %d", int(e)) }
