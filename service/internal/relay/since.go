package relay

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// againSuffix follows the time of a stream that has had an owner before.
const againSuffix = " again"

// sinceKey is the context key of a sinceValue.
type sinceKey struct{}

// sinceValue is what WithSince tells.
type sinceValue struct {
	since time.Time
	again bool
}

// encode returns it as proofs hold it: nanoseconds since the Unix epoch, and againSuffix. Of nothing it is empty.
func (s sinceValue) encode() string {
	if s.since.IsZero() {
		return ""
	}
	out := strconv.FormatInt(s.since.UnixNano(), 10)
	if s.again {
		out += againSuffix
	}
	return out
}

// WithSince returns a context whose calls tell pods, in their proofs, since when the caller's stream goes on that they are part of, and whether it has had an owner before.
func WithSince(ctx context.Context, since time.Time, again bool) context.Context {
	return context.WithValue(ctx, sinceKey{}, sinceValue{since, again})
}

// Since returns what the pod that has forwarded a call told by WithSince, and whether it has.
func Since(ctx context.Context) (since time.Time, again, ok bool) {
	f, _ := Forwarded(ctx)
	value, again := strings.CutSuffix(f.since, againSuffix)
	ns, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return time.Time{}, false, false
	}
	return time.Unix(0, ns), again, true
}
