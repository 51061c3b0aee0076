package record

import "errors"

var (
	// ErrExtension means that a path's extension names no container that is known.
	ErrExtension = errors.New("record: unknown file extension")
	// ErrFrame means that a frame does not hold what its header promised.
	ErrFrame = errors.New("record: frame does not match its description")
	// ErrCodec means that a container cannot hold the stream's codec.
	ErrCodec = errors.New("record: this kind of file cannot hold the codec")
	// ErrTooLong means that a container's size fields are exhausted.
	ErrTooLong = errors.New("record: file is full")
)
