package rtcpool

import (
	"errors"
	"fmt"

	"github.com/penstock-media/penstock/rtcpool/internal/offer"
)

var (
	// ErrClosed means that the pool is closed.
	ErrClosed = errors.New("rtcpool: closed")
	// ErrExists means that a session of that id is open.
	ErrExists = errors.New("rtcpool: session exists")
	// ErrNoMedia means that an offer has no media description at all.
	ErrNoMedia = errors.New("rtcpool: the offer has no media description")
	// ErrBusy means that too many requests of one session wait their turn.
	ErrBusy = errors.New("rtcpool: too many offers wait their turn")
	// ErrNoOffer means that there is no offer yet that could be restarted.
	ErrNoOffer = errors.New("rtcpool: no offer has been applied yet")
	// ErrConfig means that a Config or SessionConfig cannot be used.
	ErrConfig = errors.New("rtcpool: unusable configuration")
)

// SDPError means that an offer is not an SDP (RFC 8866), or one that cannot be answered.
type SDPError struct {
	Where string // "m-line 3", "line 7: a=mid", or empty for the whole
	What  string // what is wrong and what is right
	Err   error  // the cause; may be nil
}

// Error implements error.
func (e *SDPError) Error() string {
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
func (e *SDPError) Unwrap() error { return e.Err }

// offerError gives what is wrong with an offer its public name.
func offerError(err error) error {
	var bad *offer.Error
	switch {
	case errors.As(err, &bad):
		return (*SDPError)(bad)
	case errors.Is(err, offer.ErrNoMedia):
		return fmt.Errorf("offer without an m= line: %w", ErrNoMedia)
	}
	return err
}

// NegotiationError means that an offer parsed but could not be applied. What runs goes on.
type NegotiationError struct {
	Generation uint64
	Step       string // what was being done
	Err        error
}

// Error implements error.
func (e *NegotiationError) Error() string {
	return fmt.Sprintf("rtcpool: generation %d: %s: %v", e.Generation, e.Step, e.Err)
}

// Unwrap returns the cause.
func (e *NegotiationError) Unwrap() error { return e.Err }
