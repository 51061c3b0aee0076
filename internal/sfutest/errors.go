package sfutest

import "errors"

var (
	// ErrClosed means that the SFU or the publisher was closed before the call.
	ErrClosed = errors.New("sfutest: closed")
	// ErrConfig means that a required field is missing.
	ErrConfig = errors.New("sfutest: incomplete configuration")
	// ErrAnswerLost means that LoseAnswer was asked for, and done.
	ErrAnswerLost = errors.New("sfutest: answer lost")
	// ErrDropped means that the gateway dropped the offer as too late. The call's text says why.
	ErrDropped = errors.New("sfutest: offer dropped")
	// ErrRejected means that the answer refuses a media description.
	ErrRejected = errors.New("sfutest: media rejected")
	// ErrWHIP means that the WHIP endpoint answered otherwise than RFC 9725 asks.
	ErrWHIP = errors.New("sfutest: WHIP endpoint refused")
	// ErrUnknownTrack means that the track is not one of this SFU, or not in it at the moment.
	ErrUnknownTrack = errors.New("sfutest: no such track")
)
