package service

import "errors"

var (
	// ErrConfig means that a Config cannot be used.
	ErrConfig = errors.New("service: bad configuration")
	// errDraining means that the process is about to stop.
	errDraining = errors.New("service: draining")
	// errLimit means that one of Limits is reached.
	errLimit = errors.New("service: limit reached")
	// errUnauthenticated means that a call carries no token, or a wrong one.
	errUnauthenticated = errors.New("service: not authenticated")
	// errExpired means that the caller's credentials were good, and are no longer.
	errExpired = errors.New("service: credentials have expired")
	// errNoKeys means that the keys that tokens are checked by could not be fetched yet.
	errNoKeys = errors.New("service: no keys to check tokens by")
	// errForbidden means that it is known who calls, and that it may not.
	errForbidden = errors.New("service: not allowed")
	// errUnknownMethod means that there is no such method.
	errUnknownMethod = errors.New("service: no such method")
	// errNotOffers means that a session is not fed by offers.
	errNotOffers = errors.New("service: session is not fed by offers")
	// errTrackNotLive means that the caller's deadline passed while a track was waited for.
	errTrackNotLive = errors.New("service: track is not live")
	// errReplaced means that a stream's media serve its selector no longer.
	errReplaced = errors.New("service: media replaced")
	// errNoSlot means that the interceptor that sends GetFrame's reply is missing.
	errNoSlot = errors.New("service: the payload interceptor is missing")
	// errSessionOver means that a session ended while a conversation was about to be opened.
	errSessionOver = errors.New("service: session is over")
	// errSignalReplaced means that a newer conversation took this one's place.
	errSignalReplaced = errors.New("service: another conversation was opened")
	// errSignalStalled means that a caller did not read what was sent in its conversation.
	errSignalStalled = errors.New("service: conversation is not read")
	// errSignalIdle means that a caller did not open its conversation.
	errSignalIdle = errors.New("service: conversation was not opened")
	// errMoved means that a session is no longer this process's: another one owns it, and goes on. It ends what serves the session here, and
	// nobody else is told of it: whoever follows the session asks locate again.
	errMoved = errors.New("service: another pod has the session")
	// errServeHere means that a call is not for another pod.
	errServeHere = errors.New("service: not for another pod")
	// errMoving means that a session's owner is gone, and that no other one was found in time.
	errMoving = errors.New("service: the session is about to be taken over")
	// errSpent means that a message was marshalled a second time, when its payload was gone.
	errSpent = errors.New("service: message was sent already")
)
