package resolverstore

import "errors"

// The errors of a Store. Each may be wrapped with what was being done.
var (
	// ErrSessionExists says that the id belongs to a session that was created otherwise.
	ErrSessionExists = errors.New("the session id belongs to a session that was created otherwise")
	// ErrSessionNotFound says that there is no such session.
	ErrSessionNotFound = errors.New("there is no such session")
	// ErrSessionEnded says that the session has ended.
	ErrSessionEnded = errors.New("the session has ended")
	// ErrTrackNotFound says that there is no track of that id, or that it has ended.
	ErrTrackNotFound = errors.New("there is no such track, or it has ended")
	// ErrParticipantLeft says that the participant left the call.
	ErrParticipantLeft = errors.New("the participant left the call")
	// ErrInvalidSelector says that a selector names neither a track id, nor a source and a participant or user.
	ErrInvalidSelector = errors.New("the selector names neither a track nor a participant's source")
	// ErrFenced says that the writer does not own the session, or owns it no longer.
	ErrFenced = errors.New("the writer does not own the session")
	// ErrOwned says that another process owns the session, and may well be alive.
	ErrOwned = errors.New("the session has an owner")
	// ErrLimitReached says that a bound of Config was hit.
	ErrLimitReached = errors.New("a limit of the store is reached")
	// ErrInvalidSession says that a session's key is empty or too long.
	ErrInvalidSession = errors.New("the session's id is empty, too long or not UTF-8")
	// ErrUnavailable says that the store that pods share cannot be reached or written at the moment. Trying again helps.
	ErrUnavailable = errors.New("the shared store is not available")
	// ErrCorrupt says that what the shared store holds of the session cannot be read, and that this process cannot mend it.
	ErrCorrupt = errors.New("what is stored of the session cannot be read")
	// ErrUnsuitable says that the Redis server or the way to it cannot be used: its version is too old, or an option is wrong.
	ErrUnsuitable = errors.New("the redis server or its options cannot be used")
	// ErrClosed says that the store, or the watcher, was closed.
	ErrClosed = errors.New("the store is closed")
)
