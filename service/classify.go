package service

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// classify returns the failure that an error is to the caller. Typed errors come first, since they say more; then the
// sentinels; what is left is a fault of the gateway.
func classify(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	if f := classifyMedia(err); f != nil {
		return f
	}
	var sdp *rtcpool.SDPError
	if errors.As(err, &sdp) {
		return &failure{reason: penstockv1.ErrorReason_ERROR_REASON_INVALID_SDP, cause: err,
			fields: []fieldFault{{"sdp", sdpText(sdp)}}}
	}
	var negotiation *rtcpool.NegotiationError
	if errors.As(err, &negotiation) {
		return fail(penstockv1.ErrorReason_ERROR_REASON_NEGOTIATION_FAILED, err)
	}
	var limit *limitError
	if errors.As(err, &limit) {
		return overLimit(limit, err)
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return fail(s.reason, err)
		}
	}
	for name, sentinel := range innerLimits {
		if errors.Is(err, sentinel) {
			return &failure{reason: penstockv1.ErrorReason_ERROR_REASON_LIMIT_REACHED, cause: err, metadata: map[string]string{"limit": name}}
		}
	}
	return fail(penstockv1.ErrorReason_ERROR_REASON_INTERNAL, err)
}

// innerLimits are limits that no setting changes, by what callers are told of them. It is written nowhere but here.
var innerLimits = map[string]error{"store": resolverstore.ErrLimitReached, "offers_waiting": rtcpool.ErrBusy}

// overLimit tells which limit was reached, what it allows and by which setting it is changed.
func overLimit(l *limitError, cause error) *failure {
	info := limitTable[l.kind]
	f := &failure{
		reason: penstockv1.ErrorReason_ERROR_REASON_LIMIT_REACHED, cause: cause, text: info.text, retry: l.RetryAfter(),
		metadata: map[string]string{"limit": info.name},
	}
	if strings.Contains(info.text, "%d") {
		f.text = fmt.Sprintf(info.text, l.value)
		f.metadata["value"] = strconv.FormatInt(l.value, 10)
	}
	if info.setting != "" {
		f.metadata["setting"] = info.setting
	}
	if f.retry == 0 {
		f.retry = -1 // what is too large will be so again
	}
	return f
}

// sentinels are tried in order. It is written nowhere but here.
var sentinels = []struct {
	err    error
	reason penstockv1.ErrorReason
}{
	{errTrackNotLive, penstockv1.ErrorReason_ERROR_REASON_TRACK_NOT_LIVE},
	{errDraining, penstockv1.ErrorReason_ERROR_REASON_DRAINING},
	{errLimit, penstockv1.ErrorReason_ERROR_REASON_LIMIT_REACHED},
	{errUnknownMethod, penstockv1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD},
	{errUnauthenticated, penstockv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED},
	{errExpired, penstockv1.ErrorReason_ERROR_REASON_CREDENTIALS_EXPIRED},
	{errNoKeys, penstockv1.ErrorReason_ERROR_REASON_AUTH_UNAVAILABLE},
	{errForbidden, penstockv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED},
	{relay.ErrRefused, penstockv1.ErrorReason_ERROR_REASON_FORWARD_REFUSED},
	{relay.ErrUnreachable, penstockv1.ErrorReason_ERROR_REASON_SESSION_MOVING},
	{relay.ErrAddress, penstockv1.ErrorReason_ERROR_REASON_SESSION_MOVING},
	{relay.ErrLooped, penstockv1.ErrorReason_ERROR_REASON_SESSION_MOVING},
	{relay.ErrClosed, penstockv1.ErrorReason_ERROR_REASON_DRAINING},
	{errMoved, penstockv1.ErrorReason_ERROR_REASON_SESSION_MOVING},
	{errMoving, penstockv1.ErrorReason_ERROR_REASON_SESSION_MOVING},
	{errSessionOver, penstockv1.ErrorReason_ERROR_REASON_SESSION_ENDED},
	{errSignalReplaced, penstockv1.ErrorReason_ERROR_REASON_SIGNAL_REPLACED},
	{errSignalStalled, penstockv1.ErrorReason_ERROR_REASON_CONSUMER_STALLED},
	{errSignalIdle, penstockv1.ErrorReason_ERROR_REASON_DEADLINE},
	{errNotOffers, penstockv1.ErrorReason_ERROR_REASON_NOT_AN_OFFERS_SESSION},
	{resolverstore.ErrSessionNotFound, penstockv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND},
	{resolverstore.ErrSessionExists, penstockv1.ErrorReason_ERROR_REASON_SESSION_EXISTS},
	{resolverstore.ErrSessionEnded, penstockv1.ErrorReason_ERROR_REASON_SESSION_ENDED},
	{resolverstore.ErrTrackNotFound, penstockv1.ErrorReason_ERROR_REASON_TRACK_NOT_FOUND},
	{resolverstore.ErrParticipantLeft, penstockv1.ErrorReason_ERROR_REASON_PARTICIPANT_LEFT},
	{resolverstore.ErrInvalidSelector, penstockv1.ErrorReason_ERROR_REASON_INVALID_FIELD},
	{resolverstore.ErrInvalidSession, penstockv1.ErrorReason_ERROR_REASON_INVALID_FIELD},
	{resolverstore.ErrFenced, penstockv1.ErrorReason_ERROR_REASON_SESSION_ENDED},
	{resolverstore.ErrUnavailable, penstockv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE},
	{resolverstore.ErrCorrupt, penstockv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE}, // its owner writes it again
	{resolverstore.ErrClosed, penstockv1.ErrorReason_ERROR_REASON_DRAINING},
	{rtcpool.ErrNoMedia, penstockv1.ErrorReason_ERROR_REASON_NO_MEDIA},
	{rtcpool.ErrNoOffer, penstockv1.ErrorReason_ERROR_REASON_NEGOTIATION_FAILED},
	{rtcpool.ErrExists, penstockv1.ErrorReason_ERROR_REASON_SESSION_EXISTS},
	{rtcpool.ErrConfig, penstockv1.ErrorReason_ERROR_REASON_INVALID_FIELD}, // of its ICE servers
	{rtcpool.ErrClosed, penstockv1.ErrorReason_ERROR_REASON_DRAINING},
	{media.ErrKindMismatch, penstockv1.ErrorReason_ERROR_REASON_FORMAT_KIND_MISMATCH},
	{media.ErrCodecNotAccepted, penstockv1.ErrorReason_ERROR_REASON_CODEC_NOT_ACCEPTED},
	{media.ErrUnsupportedCodec, penstockv1.ErrorReason_ERROR_REASON_CODEC_UNSUPPORTED},
	{media.ErrNotImplemented, penstockv1.ErrorReason_ERROR_REASON_NOT_IMPLEMENTED},
	{media.ErrStalled, penstockv1.ErrorReason_ERROR_REASON_CONSUMER_STALLED},
	{context.Canceled, penstockv1.ErrorReason_ERROR_REASON_CANCELLED},
	{context.DeadlineExceeded, penstockv1.ErrorReason_ERROR_REASON_DEADLINE},
}

// classifyMedia knows the typed errors of media.
func classifyMedia(err error) *failure {
	var format *media.FormatError
	if errors.As(err, &format) {
		return &failure{reason: penstockv1.ErrorReason_ERROR_REASON_INVALID_FIELD, cause: err,
			fields: []fieldFault{{"format." + format.Field, format.Text}}}
	}
	var size *media.SizeError
	if errors.As(err, &size) {
		return tooLarge(size, size.Limit, size.PayloadBytes)
	}
	return nil
}

// tooLarge tells a picture's size in messages: what the caller allows, and what the message needs.
func tooLarge(err *media.SizeError, limit, need int) *failure {
	return &failure{
		reason: penstockv1.ErrorReason_ERROR_REASON_MESSAGE_TOO_LARGE, cause: err,
		text: fmt.Sprintf("A picture of %d×%d in this format needs a message of %d bytes, and max_receive_message_bytes allows %d.",
			err.Width, err.Height, need, limit),
		fields: []fieldFault{{"max_receive_message_bytes", fmt.Sprintf("must be at least %d for this format", need)}},
		metadata: map[string]string{
			"width": strconv.Itoa(err.Width), "height": strconv.Itoa(err.Height),
			"message_bytes": strconv.Itoa(need), "max_receive_message_bytes": strconv.Itoa(limit),
		},
	}
}

// sdpText says where an offer is at fault, and what is wrong there.
func sdpText(err *rtcpool.SDPError) string {
	if err.Where == "" {
		return err.What
	}
	return err.Where + ": " + err.What
}
