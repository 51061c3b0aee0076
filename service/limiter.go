package service

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// limitKind is one of the bounds of Limits, as callers, operators and metrics know it.
type limitKind uint8

const (
	limitSessions limitKind = iota
	limitCallerSessions
	limitStreams
	limitCallerStreams
	limitCalls
	limitCallerCalls
	limitCallerRate
	limitSignalRate
	limitConsumers
	limitMedia
	limitFacts
	limitMessage
	limitFirstMessage
	limitWHIPRate
	limitHealthWatches
	limitCallerHealthWatches
	limitDecoders
	limitFailedAuthRate
	limitKinds // how many there are
)

// limitInfo is what is told of a limit.
type limitInfo struct {
	name    string        // ErrorInfo's metadata `limit`, and the label of the metric
	setting string        // the name of the flag that changes it
	text    string        // a sentence of what there is too much of, with the limit's value for %d
	retry   time.Duration // after which trying again may help
}

// limitTable is written nowhere but here.
var limitTable = [limitKinds]limitInfo{
	limitSessions:            {"sessions", "max-sessions", "This pod has %d sessions open, and takes no more.", 5 * time.Second},
	limitCallerSessions:      {"caller_sessions", "max-sessions-per-caller", "The caller has %d sessions open at this pod, and may have no more.", 5 * time.Second},
	limitStreams:             {"streams", "max-streams", "This pod has %d streams open, and takes no more.", 5 * time.Second},
	limitCallerStreams:       {"caller_streams", "max-streams-per-caller", "The caller has %d streams open at this pod, and may have no more.", 5 * time.Second},
	limitCalls:               {"calls", "max-calls", "This pod has %d calls under way, and takes no more.", time.Second},
	limitCallerCalls:         {"caller_calls", "max-calls-per-caller", "The caller has %d calls under way at this pod, and may have no more.", time.Second},
	limitCallerRate:          {"caller_rate", "caller-rate", "The caller makes more than %d calls a second.", time.Second},
	limitSignalRate:          {"signal_rate", "signal-rate", "The conversation has more than %d messages a second.", time.Second},
	limitConsumers:           {"consumers", "max-consumers-per-track", "The track has %d consumers, and takes no more.", 5 * time.Second},
	limitMedia:               {"media", "max-media-per-session", "The offer has more than %d media descriptions.", 0},
	limitFacts:               {"facts", "max-publications-per-session", "The session has as many participants or publications as it may have.", 5 * time.Second},
	limitMessage:             {"message_bytes", "", "A request has more than %d bytes.", 0},
	limitFirstMessage:        {"request_time", "request-timeout", "The request did not come within %d s.", time.Second},
	limitWHIPRate:            {"whip_rate", "whip-rate", "The caller makes more than %d WHIP requests a second.", time.Second},
	limitHealthWatches:       {"health_watches", "max-health-watches", "This pod has %d calls of Health.Watch open, and takes no more.", 5 * time.Second},
	limitCallerHealthWatches: {"caller_health_watches", "max-health-watches", "The caller has %d calls of Health.Watch open at this pod, and may have no more.", 5 * time.Second},
	limitDecoders:            {"decoders", "decode-workers", "The track is suspended for lack of processors.", 5 * time.Second},
	limitFailedAuthRate:      {"failed_auth_rate", "failed-auth-rate", "More than %d credentials a second that fail come from the caller's address.", time.Second},
}

// limitError says which limit was reached. It is an errLimit.
type limitError struct {
	kind  limitKind
	value int64         // of the limit
	retry time.Duration // after which trying again helps; 0 is what the table says
}

// Error implements error.
func (e *limitError) Error() string {
	return fmt.Sprintf("%v: %s %d", errLimit, limitTable[e.kind].name, e.value)
}

// Is implements errors.Is.
func (e *limitError) Is(target error) bool { return target == errLimit }

// RetryAfter tells after what time the request may be made again.
func (e *limitError) RetryAfter() time.Duration {
	if e.retry > 0 {
		return e.retry
	}
	return limitTable[e.kind].retry
}

// refusals counts what was refused, by limit. It is safe for concurrent use.
type refusals [limitKinds]atomic.Uint64

// refuse counts and returns the error of a limit.
func (r *refusals) refuse(kind limitKind, value int) error {
	return r.limited(&limitError{kind: kind, value: int64(value)})
}

// limited counts an error if it is one of a limit, and returns it: one that was made without a count, since the caller may be served all the same. What was counted is never taken back.
func (r *refusals) limited(err error) error {
	if limit := (*limitError)(nil); errors.As(err, &limit) {
		r[limit.kind].Add(1)
	}
	return err
}

// byName returns the counts of all limits, by their names.
func (r *refusals) byName() map[string]uint64 {
	out := make(map[string]uint64, limitKinds)
	for kind := range limitKinds {
		out[limitTable[kind].name] = r[kind].Load()
	}
	return out
}

// limiter bounds how many of something there are at one time.
type limiter struct {
	kind  limitKind
	limit int64
	n     atomic.Int64
	count *refusals
}

// newLimiter returns a limiter without any.
func newLimiter(kind limitKind, limit int, count *refusals) *limiter {
	return &limiter{kind: kind, limit: int64(limit), count: count}
}

// acquire takes one, which the caller must give back by release, or returns errLimit.
func (l *limiter) acquire() error {
	for {
		n := l.n.Load()
		if n >= l.limit {
			return l.count.refuse(l.kind, int(l.limit))
		}
		if l.n.CompareAndSwap(n, n+1) { // What is refused is never counted: it would hold up a place that has just become free.
			return nil
		}
	}
}

// release gives one back.
func (l *limiter) release() { l.n.Add(-1) }
