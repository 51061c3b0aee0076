package demo

import "errors"

var (
	// ErrFailed means that something did not arrive, or was not what it should be. What exactly has been printed.
	ErrFailed = errors.New("the demo failed")
	// ErrCommand means that the publisher was told something that it does not know.
	ErrCommand = errors.New("demo: unknown command")
	// ErrPublisher means that the publisher process could not do what it was told, or is gone.
	ErrPublisher = errors.New("demo: publisher")
	// ErrPicture means that a frame is not a picture of the format asked for.
	ErrPicture = errors.New("demo: not a picture of the format asked for")
)
