package service

import (
	"errors"
	"strings"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/connector/whip"
)

// WHIPReason implements whip.Config.Reason: problem documents have the reasons of the one table.
func WHIPReason(err error) (reason string, wait time.Duration) {
	f := whipFailure(err)
	return strings.TrimPrefix(f.reason.String(), reasonPrefix), f.retryAfter()
}

// whipFailure returns the failure that an error of the WHIP endpoint is.
func whipFailure(err error) *failure {
	var invalid *whip.InvalidOfferError
	switch {
	case errors.As(err, &invalid) && invalid.Err != nil:
		return classify(invalid.Err)
	case invalid != nil && invalid.Malformed:
		return fail(penstockv1.ErrorReason_ERROR_REASON_INVALID_SDP, err)
	case invalid != nil:
		return fail(penstockv1.ErrorReason_ERROR_REASON_INVALID_FIELD, err)
	}
	for _, s := range []struct {
		err    error
		reason penstockv1.ErrorReason
	}{
		{whip.ErrNotFound, penstockv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND},
		{whip.ErrConflict, penstockv1.ErrorReason_ERROR_REASON_SESSION_EXISTS},
		{whip.ErrUnauthorized, penstockv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED},
		{whip.ErrForbidden, penstockv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED},
	} {
		if errors.Is(err, s.err) {
			return fail(s.reason, err)
		}
	}
	return classify(err)
}
