package service

import (
	"context"
	"strconv"
	"sync"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// lateWait is how long a stream that is called when the drain has been told may wait for its first header: one whose track is live goes on here until its worker has
// found another pod, any other one had better wait there.
const lateWait = 3 * time.Second

// unopened is a stream that waits for its first header. A worker that has got nothing loses nothing by calling again, so that what a running stream is told by events
// ends this one. One of two things happens, and that once: the header, or the end. It is safe for concurrent use.
type unopened struct {
	abort context.CancelCauseFunc // ends the call

	mu   sync.Mutex
	over bool
	err  error // by which it was ended
}

// end ends the stream, unless its header is being sent.
func (u *unopened) end(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.over {
		u.over, u.err = true, err
		u.abort(err)
	}
}

// header lets a header be sent, or returns by what the stream was ended before the first.
func (u *unopened) header() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	return u.err
}

// untilHeader ends the stream, before its first header, when this process is about to stop or the worker's credentials are about to expire. What concerns the worker is
// its own pod's to tell: a stream that another pod forwards is left alone. The caller must call the function returned.
func (f *followed) untilHeader(ctx context.Context) (stop func()) {
	if f.forwarded {
		return func() {}
	}
	leave := func() { f.unopened.end(errDraining) }
	var undrained func() bool
	if f.svc.drain.told() {
		undrained = time.AfterFunc(lateWait, leave).Stop
	} else {
		undrained = context.AfterFunc(f.svc.drain.begin, leave)
	}
	unexpired := whenExpiring(ctx, func() {
		if left, soon := expiresIn(ctx); soon {
			f.unopened.end(expiresBefore(left.AsDuration()))
		}
	})
	return func() {
		undrained()
		unexpired()
	}
}

// expiresBefore says that the caller's credentials expire soon, and that what it waits for has not begun.
func expiresBefore(left time.Duration) error {
	return &failure{
		reason:   penstockv1.ErrorReason_ERROR_REASON_CREDENTIALS_EXPIRED,
		text:     "The credentials are about to expire, and the stream has not begun.",
		metadata: map[string]string{"expires_in_ms": strconv.FormatInt(left.Milliseconds(), 10)},
	}
}
