package offer

import "errors"

// ErrNoMedia means that an offer has no media description at all.
var ErrNoMedia = errors.New("rtcpool: the offer has no media description")

// Error means that an offer is not an SDP (RFC 8866), or one that cannot be answered.
type Error struct {
	Where string // "m-line 3", "line 7: a=mid", or empty for the whole
	What  string // what is wrong and what is right
	Err   error  // the cause; may be nil
}

// Error implements error.
func (e *Error) Error() string {
	text := "rtcpool: sdp: "
	if e.Where != "" {
		text += e.Where + ": "
	}
	text += e.What
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
