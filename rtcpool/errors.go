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
	ErrNoMedia = offer.ErrNoMedia
	// ErrBusy means that too many requests of one session wait their turn.
	ErrBusy = errors.New("rtcpool: too many offers wait their turn")
	// ErrNoOffer means that there is no offer yet that could be restarted.
	ErrNoOffer = errors.New("rtcpool: no offer has been applied yet")
	// ErrConfig means that a Config or SessionConfig cannot be used.
	ErrConfig = errors.New("rtcpool: unusable configuration")
)

// SDPError means that an offer is not an SDP (RFC 8866), or one that cannot be answered.
type SDPError = offer.Error

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
