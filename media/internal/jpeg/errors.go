package jpeg

import "errors"

var (
	// ErrInput means that size, quality or memory are out of range.
	ErrInput = errors.New("jpeg: size, quality or memory out of range")
	// ErrTooSmall means that the output did not fit.
	ErrTooSmall = errors.New("jpeg: output buffer is too small")
	// ErrFailed means that libjpeg gave up.
	ErrFailed = errors.New("jpeg: encoding failed")
	// ErrNoMemory means that C memory could not be allocated.
	ErrNoMemory = errors.New("jpeg: out of memory")
	// ErrClosed means that the encoder was closed.
	ErrClosed = errors.New("jpeg: encoder is closed")
)
