package service

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// errorDomain is ErrorInfo.domain of every error.
const errorDomain = "penstock"

// reasonPrefix is what the names of ErrorReason have in common, and ErrorInfo.reason leaves out.
const reasonPrefix = "ERROR_REASON_"

// failure is an error as the caller sees it. The text is for a person; nothing of what lies under it is shown.
type failure struct {
	reason   penstockv1.ErrorReason
	text     string // what is wrong; empty is the reason's own
	fields   []fieldFault
	metadata map[string]string
	retry    time.Duration // when trying again helps, where more is known than the reason's own
	cause    error         // for the log
}

// fieldFault is a wrong field of a request: its path, and what is wrong and right.
type fieldFault struct{ field, text string }

// Error implements error.
func (f *failure) Error() string {
	if f.cause != nil {
		return f.message() + ": " + f.cause.Error()
	}
	return f.message()
}

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.cause }

// message returns what is wrong and what to do.
func (f *failure) message() string {
	var b strings.Builder
	switch {
	case f.text != "":
		b.WriteString(f.text)
	case len(f.fields) > 0:
		for i, v := range f.fields {
			if i > 0 {
				b.WriteString("; ")
			}
			fmt.Fprintf(&b, "%s: %s", v.field, v.text)
		}
		b.WriteString(".")
	default:
		b.WriteString(replyOf(f.reason).text)
	}
	if advice := replyOf(f.reason).advice; advice != "" {
		b.WriteString(" " + advice)
	}
	return b.String()
}

// status returns the failure with its details.
func (f *failure) status() *status.Status {
	r := replyOf(f.reason)
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{
		Reason: strings.TrimPrefix(f.reason.String(), reasonPrefix), Domain: errorDomain, Metadata: f.metadata,
	}}
	if len(f.fields) > 0 {
		bad := &errdetails.BadRequest{}
		for _, v := range f.fields {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Field: v.field, Description: v.text, Reason: strings.TrimPrefix(f.reason.String(), reasonPrefix),
			})
		}
		details = append(details, bad)
	}
	if retry := f.retryAfter(); retry > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retry)})
	}
	st := status.New(r.code, f.message())
	if with, err := st.WithDetails(details...); err == nil {
		return with
	}
	return st
}

// retryAfter returns when trying again helps; 0 is never.
func (f *failure) retryAfter() time.Duration {
	if f.retry != 0 {
		return max(f.retry, 0)
	}
	return replyOf(f.reason).retry
}

// reply is what the table says of a reason.
type reply struct {
	code   codes.Code
	text   string        // what is wrong, where nothing more is known
	advice string        // what to do
	retry  time.Duration // when trying again helps; 0 is never
}

// replyOf is the table of all reasons. A reason that is not in it is INTERNAL.
func replyOf(r penstockv1.ErrorReason) reply {
	if v, ok := replies[r]; ok {
		return v
	}
	return replies[penstockv1.ErrorReason_ERROR_REASON_INTERNAL]
}

// replies is written nowhere but here.
var replies = map[penstockv1.ErrorReason]reply{
	penstockv1.ErrorReason_ERROR_REASON_INVALID_FIELD: {
		codes.InvalidArgument, "A field of the request is wrong.", "Correct it; the field's documentation tells what it may hold.", 0},
	penstockv1.ErrorReason_ERROR_REASON_INVALID_SDP: {
		codes.InvalidArgument, "The offer cannot be applied.", "Send the SFU's offer unchanged.", 0},
	penstockv1.ErrorReason_ERROR_REASON_NO_MEDIA: {
		codes.InvalidArgument, "The offer describes no media.", "Offer at least one audio, video or data channel.", 0},
	penstockv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND: {
		codes.NotFound, "There is no such session.", "Create it, or look at its id.", 0},
	penstockv1.ErrorReason_ERROR_REASON_SESSION_EXISTS: {
		codes.AlreadyExists, "The id belongs to a session that was created otherwise.", "Choose another id, or delete that session.", 0},
	penstockv1.ErrorReason_ERROR_REASON_SESSION_ENDED: {
		codes.FailedPrecondition, "The session has ended.", "Create a new one.", 0},
	penstockv1.ErrorReason_ERROR_REASON_TRACK_NOT_FOUND: {
		codes.NotFound, "There is no track of that id.", "ListTracks tells which there are; a selector by participant waits for one.", 0},
	penstockv1.ErrorReason_ERROR_REASON_PARTICIPANT_LEFT: {
		codes.NotFound, "The participant left the call.", "Ask again when it has joined; a selector by user goes on over a rejoin.", 0},
	penstockv1.ErrorReason_ERROR_REASON_TRACK_NOT_LIVE: {
		codes.DeadlineExceeded, "The track was not live within the deadline.", "Try again, or look at ListTracks for what is still missing.", time.Second},
	penstockv1.ErrorReason_ERROR_REASON_FORMAT_KIND_MISMATCH: {
		codes.InvalidArgument, "The format is of the other kind than the track.", "Ask for an audio format of audio, and for a video format of video.", 0},
	penstockv1.ErrorReason_ERROR_REASON_CODEC_NOT_ACCEPTED: {
		codes.FailedPrecondition, "The track's codec is not among format.encoded.codecs.", "Add it there, or ask for a decoded format.", 0},
	penstockv1.ErrorReason_ERROR_REASON_CODEC_UNSUPPORTED: {
		codes.FailedPrecondition, "The gateway has no decoder for the track's codec.", "Ask for it encoded.", 0},
	penstockv1.ErrorReason_ERROR_REASON_MESSAGE_TOO_LARGE: {
		codes.InvalidArgument, "A picture in this format does not fit max_receive_message_bytes.",
		"Raise max_receive_message_bytes and the client's own limit (grpc.max_receive_message_length), or ask for a smaller width and height, or for JPEG.", 0},
	penstockv1.ErrorReason_ERROR_REASON_CONSUMER_STALLED: {
		codes.ResourceExhausted, "The stream was read too slowly for too long.", "Read faster, ask for less, or let the queue drop its oldest frames.", time.Second},
	penstockv1.ErrorReason_ERROR_REASON_LIMIT_REACHED: {
		codes.ResourceExhausted, "A limit of the server is reached.", "Try again later, or end what is no longer needed.", 5 * time.Second},
	penstockv1.ErrorReason_ERROR_REASON_DRAINING: {
		codes.Unavailable, "The server is about to stop.", "Try again; another one will answer.", time.Second},
	penstockv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED: {
		codes.Unauthenticated, "No credentials, or wrong ones.", "Send the metadata \"authorization: Bearer <token>\".", 0},
	penstockv1.ErrorReason_ERROR_REASON_NOT_IMPLEMENTED: {
		codes.Unimplemented, "This version of the gateway does not do that yet.", "Leave it out, or use a later version.", 0},
	penstockv1.ErrorReason_ERROR_REASON_INTERNAL: {
		codes.Internal, "The gateway failed.", "It is in the gateway's log; please report it.", 0},
	penstockv1.ErrorReason_ERROR_REASON_NOT_AN_OFFERS_SESSION: {
		codes.FailedPrecondition, "The session is not fed by offers.", "Create a session with the source \"offers\" for them.", 0},
	penstockv1.ErrorReason_ERROR_REASON_NEGOTIATION_FAILED: {
		codes.Aborted, "The negotiation failed.", "Running streams go on; send a fresh offer.", time.Second},
	penstockv1.ErrorReason_ERROR_REASON_CANCELLED: {
		codes.Canceled, "The caller went away.", "Call again if it is still wanted.", 0},
	penstockv1.ErrorReason_ERROR_REASON_DEADLINE: {
		codes.DeadlineExceeded, "The caller's deadline passed before it was done.", "Try again with a longer one.", time.Second},
	penstockv1.ErrorReason_ERROR_REASON_SIGNAL_REPLACED: {
		codes.Aborted, "Another Signal stream was opened for the session.", "Use that one; do not open this one again.", 0},
	penstockv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE: {
		codes.Unavailable, "The store that pods share is not available.", "Running streams go on; try again.", time.Second},
	penstockv1.ErrorReason_ERROR_REASON_SESSION_MOVING: {
		codes.Unavailable, "The pod that had the session is gone, and another one is about to take it over.", "Try again.", time.Second},
	penstockv1.ErrorReason_ERROR_REASON_SESSION_ELSEWHERE: {
		codes.Unavailable, "Another pod has the session.", "Call it at the address in the metadata of ErrorInfo.", 0},
	penstockv1.ErrorReason_ERROR_REASON_FORWARD_REFUSED: {
		codes.PermissionDenied, "The call does not prove that it comes from another pod.", "Call without the metadata of pods.", 0},
	penstockv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED: {
		codes.PermissionDenied, "The caller's credentials do not allow this, or not for this session.", "Use credentials that do.", 0},
	penstockv1.ErrorReason_ERROR_REASON_CREDENTIALS_EXPIRED: {
		codes.Unauthenticated, "The caller's credentials have expired.", "Call again with new ones; a stream goes on by its resume token.", 0},
	penstockv1.ErrorReason_ERROR_REASON_AUTH_UNAVAILABLE: {
		codes.Unavailable, "The keys that tokens are checked by cannot be fetched.", "Try again.", time.Second},
	penstockv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID: {
		codes.InvalidArgument, "The resume token is not one of this stream, or is too old.", "Open the stream without it.", 0},
	penstockv1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD: {
		codes.Unimplemented, "There is no such service or method.", "Look at its name, and at the versions of client and gateway.", 0},
	penstockv1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST: {
		codes.InvalidArgument, "The message cannot be decoded.", "Send a message of this method, as the published contract has it.", 0},
}

// reasonOf returns the reason in a status that a pod of this service made, or none.
func reasonOf(err error) penstockv1.ErrorReason {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == errorDomain {
			return penstockv1.ErrorReason(penstockv1.ErrorReason_value[reasonPrefix+info.GetReason()])
		}
	}
	return penstockv1.ErrorReason_ERROR_REASON_UNSPECIFIED
}

// fail returns a failure of a reason.
func fail(reason penstockv1.ErrorReason, cause error) *failure {
	return &failure{reason: reason, cause: cause}
}

// invalid returns a failure that names one wrong field.
func invalid(field, format string, args ...any) *failure {
	return &failure{
		reason: penstockv1.ErrorReason_ERROR_REASON_INVALID_FIELD,
		fields: []fieldFault{{field, fmt.Sprintf(format, args...)}},
	}
}

// notImplemented returns a failure that names a field, or a call, that is for later.
func notImplemented(what string) *failure {
	return &failure{
		reason: penstockv1.ErrorReason_ERROR_REASON_NOT_IMPLEMENTED,
		text:   what + " is not implemented in this version of the gateway.",
	}
}
