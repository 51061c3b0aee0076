package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
)

// TestO11_EveryReasonIsInTheTable walks the contract's reasons: each has a code, a text that says what is wrong, and one that
// says what to do, and the code is the one that the contract documents.
func TestO11_EveryReasonIsInTheTable(t *testing.T) {
	documented := documentedCodes(t)
	for number, name := range penstockv1.ErrorReason_name {
		reason := penstockv1.ErrorReason(number)
		if reason == penstockv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
			continue
		}
		r, ok := replies[reason]
		if !ok {
			t.Errorf("%s is not in the table", name)
			continue
		}
		if len(r.text) < 10 || len(r.advice) < 10 || !strings.HasSuffix(r.advice, ".") && !strings.HasSuffix(r.advice, "\".") {
			t.Errorf("%s: %q %q does not say what is wrong and what to do", name, r.text, r.advice)
		}
		if want := documented[name]; want != r.code {
			t.Errorf("%s is %v, the contract says %v", name, r.code, want)
		}
		st := fail(reason, errors.New("driver text")).status()
		info := detail[*errdetails.ErrorInfo](st)
		if info.GetReason() != strings.TrimPrefix(name, reasonPrefix) || info.GetDomain() != "penstock" || st.Code() != r.code {
			t.Errorf("%s becomes %v", name, st)
		}
		if retry := detail[*errdetails.RetryInfo](st); (retry != nil) != (r.retry > 0) {
			t.Errorf("%s has retry info %v", name, retry)
		}
		if strings.Contains(st.Message(), "driver") {
			t.Errorf("%s shows its cause", name)
		}
	}
	if len(replies) != len(penstockv1.ErrorReason_name)-1 {
		t.Errorf("%d entries for %d reasons", len(replies), len(penstockv1.ErrorReason_name)-1)
	}
}

// documentedCodes reads each reason's code from the contract's comments.
func documentedCodes(t *testing.T) map[string]codes.Code {
	t.Helper()
	numbers := map[string]codes.Code{
		"INVALID_ARGUMENT": codes.InvalidArgument, "NOT_FOUND": codes.NotFound, "ALREADY_EXISTS": codes.AlreadyExists,
		"FAILED_PRECONDITION": codes.FailedPrecondition, "DEADLINE_EXCEEDED": codes.DeadlineExceeded,
		"RESOURCE_EXHAUSTED": codes.ResourceExhausted, "UNAVAILABLE": codes.Unavailable, "UNAUTHENTICATED": codes.Unauthenticated,
		"PERMISSION_DENIED": codes.PermissionDenied, "UNIMPLEMENTED": codes.Unimplemented, "INTERNAL": codes.Internal, "ABORTED": codes.Aborted, "CANCELLED": codes.Canceled,
	}
	out := map[string]codes.Code{}
	var last string
	for _, line := range strings.Split(readFile(t, "../api/penstock/v1/error_reason.proto"), "\n") {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "// "); ok {
			if last == "" { // the first line of a comment
				last, _, _ = strings.Cut(text, ".")
			}
			continue
		}
		if name, _, ok := strings.Cut(line, " = "); ok {
			out[name] = numbers[last]
		}
		last = ""
	}
	return out
}

// TestClassify turns every error that the packages below document into its reason, however it is wrapped.
func TestClassify(t *testing.T) {
	for err, want := range map[error]string{
		resolverstore.ErrSessionNotFound:                "SESSION_NOT_FOUND",
		resolverstore.ErrSessionExists:                  "SESSION_EXISTS",
		resolverstore.ErrSessionEnded:                   "SESSION_ENDED",
		resolverstore.ErrTrackNotFound:                  "TRACK_NOT_FOUND",
		resolverstore.ErrParticipantLeft:                "PARTICIPANT_LEFT",
		resolverstore.ErrFenced:                         "SESSION_ENDED",
		resolverstore.ErrClosed:                         "DRAINING",
		resolverstore.ErrLimitReached:                   "LIMIT_REACHED",
		resolverstore.ErrInvalidSelector:                "INVALID_FIELD",
		resolverstore.ErrInvalidSession:                 "INVALID_FIELD",
		rtcpool.ErrNoMedia:                              "NO_MEDIA",
		rtcpool.ErrBusy:                                 "LIMIT_REACHED",
		rtcpool.ErrConfig:                               "INVALID_FIELD",
		rtcpool.ErrClosed:                               "DRAINING",
		rtcpool.ErrExists:                               "SESSION_EXISTS",
		&rtcpool.SDPError{Where: "line 3", What: "bad"}: "INVALID_SDP",
		&rtcpool.NegotiationError{Err: errSpent}:        "NEGOTIATION_FAILED",
		media.ErrKindMismatch:                           "FORMAT_KIND_MISMATCH",
		media.ErrCodecNotAccepted:                       "CODEC_NOT_ACCEPTED",
		media.ErrUnsupportedCodec:                       "CODEC_UNSUPPORTED",
		media.ErrNotImplemented:                         "NOT_IMPLEMENTED",
		media.ErrStalled:                                "CONSUMER_STALLED",
		&media.FormatError{Field: "f", Text: "bad"}:     "INVALID_FIELD",
		&media.SizeError{Width: 3, Limit: 5}:            "MESSAGE_TOO_LARGE",
		context.Canceled:                                "CANCELLED",
		context.DeadlineExceeded:                        "DEADLINE",
		errDraining:                                     "DRAINING",
		errLimit:                                        "LIMIT_REACHED",
		errTrackNotLive:                                 "TRACK_NOT_LIVE",
		errUnauthenticated:                              "UNAUTHENTICATED",
		errNotOffers:                                    "NOT_AN_OFFERS_SESSION",
		errors.New("dial tcp 10.0.0.1: refused"):        "INTERNAL",
	} {
		f := classify(fmt.Errorf("doing it: %w", err))
		if got := strings.TrimPrefix(f.reason.String(), reasonPrefix); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
		if limit := detail[*errdetails.ErrorInfo](f.status()).GetMetadata()["limit"]; (limit != "") != (want == "LIMIT_REACHED" && !errors.Is(err, errLimit)) {
			t.Errorf("%v tells of the limit %q", err, limit)
		}
		if strings.Contains(f.message(), "10.0.0.1") || strings.Contains(f.message(), "doing it") {
			t.Errorf("%v shows its cause: %s", err, f.message())
		}
	}
}
