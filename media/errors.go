package media

import (
	"errors"
	"fmt"
)

var (
	// ErrUnsupportedCodec means that no decoder is built in for the codec.
	ErrUnsupportedCodec = errors.New("media: no decoder for this codec")
	// ErrCodecNotAccepted means that the track's codec is not among Request.AcceptCodecs.
	ErrCodecNotAccepted = errors.New("media: the track's codec is not accepted")
	// ErrKindMismatch means that a video format was asked of audio or the reverse.
	ErrKindMismatch = errors.New("media: format does not match the kind of the track")
	// ErrNotImplemented means that a format of the contract is not built yet.
	ErrNotImplemented = errors.New("media: not implemented")
	// ErrClosed means that the consumer was closed by its owner.
	ErrClosed = errors.New("media: consumer is closed")
	// ErrStalled means that the consumer's queue overflowed and its policy is Disconnect, or that it was not read for too long.
	ErrStalled = errors.New("media: consumer reads too slowly")
	// ErrCorrupt means that a payload cannot be decoded.
	ErrCorrupt = errors.New("media: corrupt payload")
)

// EndedError is returned by Consumer.Next after the last item of a track that ended.
type EndedError struct {
	// Reason is what Track.End was called with.
	Reason EndReason
}

// Error implements error.
func (e *EndedError) Error() string { return "media: track ended: " + e.Reason.String() }

// EndReason says why a track ended.
type EndReason uint8

// The reasons for which media ends.
const (
	EndUnspecified EndReason = iota
	EndMediaGone             // the m-line was stopped, removed or given to another track
	EndClosed                // the peer connection was closed
)

// String returns the reason in words.
func (r EndReason) String() string {
	switch r {
	case EndMediaGone:
		return "media gone"
	case EndClosed:
		return "peer connection closed"
	default:
		return "unspecified"
	}
}

// FormatError is a wrong field of a Request.
type FormatError struct {
	Field string // in the contract's words: "sample_rate_hz"
	Text  string // what is wrong and what is right
}

// Error implements error.
func (e *FormatError) Error() string { return fmt.Sprintf("media: %s: %s", e.Field, e.Text) }

// SizeError means that a picture does not fit Request.MaxPayloadBytes.
type SizeError struct {
	Width, Height       int // of the picture as it would be delivered
	PayloadBytes, Limit int
}

// Error implements error.
func (e *SizeError) Error() string {
	return fmt.Sprintf("media: a picture of %d×%d needs %d bytes, more than the %d allowed", e.Width, e.Height, e.PayloadBytes, e.Limit)
}
