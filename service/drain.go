package service

import (
	"context"
	"sync"
	"time"
)

// drain is the end of a process in two steps: begin, which calls are told, and over, which ends them.
type drain struct {
	begin, over             context.Context
	cancelBegin, cancelOver context.CancelFunc

	mu    sync.Mutex
	until time.Time // valid after begin
}

// newDrain returns a drain that has not begun.
func newDrain() *drain {
	d := &drain{}
	d.begin, d.cancelBegin = context.WithCancel(context.Background())
	d.over, d.cancelOver = context.WithCancel(context.Background())
	return d
}

// begun tells whether it has begun.
func (d *drain) begun() bool { return d.begin.Err() != nil }

// left returns how long calls may go on.
func (d *drain) left() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(time.Until(d.until), 0)
}

// run begins, waits for the grace, and ends. The grace of the first call counts.
func (d *drain) run(ctx context.Context, grace time.Duration) {
	d.mu.Lock()
	if !d.begun() {
		d.until = time.Now().Add(grace)
	}
	left := time.Until(d.until)
	d.mu.Unlock()
	d.cancelBegin()
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-d.over.Done():
	}
	d.finish()
}

// finish ends at once.
func (d *drain) finish() {
	d.cancelBegin()
	d.cancelOver()
}

// bound returns a context that ends with ctx, and with the cause errDraining when the drain is over. The caller must call
// the function returned.
func (d *drain) bound(ctx context.Context) (context.Context, func()) {
	out, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(d.over, func() { cancel(errDraining) })
	return out, func() {
		stop()
		cancel(context.Canceled)
	}
}
