package whip

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"
)

// problem is an error that is answered with a status of its own.
type problem struct {
	status int
	detail string // what is wrong and what to do
	err    error  // the cause; not shown
}

// Error implements error.
func (p *problem) Error() string { return "whip: " + p.detail }

// Unwrap returns the cause.
func (p *problem) Unwrap() error { return p.err }

// reason is that of what is wrong with the request as HTTP; empty for what lies behind.
func (p *problem) reason() string {
	switch p.status {
	case http.StatusMethodNotAllowed:
		return "UNKNOWN_METHOD"
	case http.StatusRequestEntityTooLarge:
		return "LIMIT_REACHED"
	case http.StatusUnsupportedMediaType, http.StatusPreconditionRequired, http.StatusPreconditionFailed:
		return "INVALID_FIELD"
	}
	switch p {
	case errNoSuchPath:
		return "UNKNOWN_METHOD"
	case errSessionID, errPublisher, errRestart:
		return "INVALID_FIELD"
	}
	return ""
}

var (
	errNoSuchPath = &problem{status: http.StatusNotFound, detail: "publish to /whip/{session}"}
	errSessionID  = &problem{status: http.StatusBadRequest, detail: "a session id has 1 to 128 characters of [A-Za-z0-9._~-]"}
	errPublisher  = &problem{status: http.StatusBadRequest, detail: "the user and participant of the query have 1 to 128 characters of [A-Za-z0-9._~-]"}
	errMethod     = &problem{status: http.StatusMethodNotAllowed, detail: "use one of the methods in the Allow header"}
	errTooLarge   = &problem{status: http.StatusRequestEntityTooLarge, detail: "the body is too large; send fewer media descriptions or candidates"}
	errNoIfMatch  = &problem{status: http.StatusPreconditionRequired, detail: `send If-Match with the ETag of the ICE session, or "*" to restart ICE`}
	errStaleTag   = &problem{status: http.StatusPreconditionFailed, detail: `the ICE session has been replaced; use the latest ETag, or If-Match: * to restart ICE`}
	errRestart    = &problem{status: http.StatusUnprocessableEntity, detail: `new ICE credentials need If-Match: *`}
)

// statuses says what each of the package's errors is answered with.
var statuses = []struct {
	err    error
	status int
	detail string
}{
	{ErrNotFound, http.StatusNotFound, "there is no such session or publication; create the session, or publish again"},
	{ErrConflict, http.StatusConflict, "somebody publishes into this session; end that publication, or use another session"},
	{ErrUnauthorized, http.StatusUnauthorized, "send Authorization: Bearer with a token for this session"},
	{ErrForbidden, http.StatusForbidden, "the token does not allow this; ask for one that does"},
	{ErrTooMany, http.StatusTooManyRequests, "too many requests that fail come from this address; try again after the time in Retry-After"},
	{ErrUnavailable, http.StatusServiceUnavailable, "the gateway cannot take this now; try again after the time in Retry-After"},
	{context.Canceled, http.StatusServiceUnavailable, "the request was given up; try again"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "the gateway did not get to it in time; try again"},
}

// problemOf maps an error to what is answered.
func problemOf(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var invalid *InvalidOfferError
	if errors.As(err, &invalid) {
		status := http.StatusUnprocessableEntity
		if invalid.Malformed {
			status = http.StatusBadRequest
		}
		return &problem{status: status, detail: invalid.Detail, err: err}
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return &problem{status: s.status, detail: s.detail, err: err}
		}
	}
	return &problem{status: http.StatusInternalServerError, detail: "the fault is the gateway's; its log has more", err: err}
}

// document is a problem document (RFC 9457).
type document struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Reason string `json:"reason,omitempty"` // as the rest of the API has it
}

// fail answers an error.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	reason, wait := p.reason(), time.Duration(0)
	if reason == "" && h.cfg.Reason != nil {
		reason, wait = h.cfg.Reason(err)
	}
	header := w.Header()
	switch p.status {
	case http.StatusInternalServerError:
		h.cfg.Logger.ErrorContext(r.Context(), "serving WHIP", "method", r.Method, "session", r.PathValue("session"), "error", err)
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", `Bearer realm="whip"`)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		header.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
	}
	header.Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.status)
	if r.Method == http.MethodHead {
		return
	}
	b, err := json.Marshal(document{Type: "about:blank", Title: http.StatusText(p.status), Status: p.status, Detail: p.detail, Reason: reason})
	if err != nil {
		return // a struct of strings always marshals
	}
	h.write(w, string(b)+"\n")
}
