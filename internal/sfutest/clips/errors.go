package clips

import "errors"

var (
	// ErrUnknownClip means that no clip has the name asked for.
	ErrUnknownClip = errors.New("clips: no clip of that name")
	// ErrMalformed means that a clip's file is not what its description says.
	ErrMalformed = errors.New("clips: malformed clip")
)
