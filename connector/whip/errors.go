package whip

import "errors"

var (
	// ErrNotFound means that there is no such session, or no such publication in it. HTTP 404.
	ErrNotFound = errors.New("whip: no such session or publication")
	// ErrConflict means that somebody publishes into the session already. HTTP 409.
	ErrConflict = errors.New("whip: the session has a publisher already")
	// ErrUnauthorized means that the bearer token is missing, wrong, or not for this session. HTTP 401.
	ErrUnauthorized = errors.New("whip: a bearer token for this session is needed")
	// ErrForbidden means that the token is good, but not for this. HTTP 403.
	ErrForbidden = errors.New("whip: the token does not allow this")
	// ErrTooMany means that the publisher's address has used up a rate. HTTP 429 with Retry-After.
	ErrTooMany = errors.New("whip: too many requests")
	// ErrUnavailable means that the gateway cannot take the publication now. HTTP 503 with Retry-After.
	ErrUnavailable = errors.New("whip: not available now")
)

// InvalidOfferError means that an offer cannot be answered. HTTP 400 when it is not an SDP, else 422.
type InvalidOfferError struct {
	Malformed bool   // it is not an SDP at all
	Detail    string // what is wrong and how to mend it, for the publisher to read
	Err       error  // the cause; not shown
}

// Error implements error.
func (e *InvalidOfferError) Error() string { return "whip: invalid offer: " + e.Detail }

// Unwrap returns the cause.
func (e *InvalidOfferError) Unwrap() error { return e.Err }
