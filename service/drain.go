package service

import (
	"context"
	"sync"
	"time"
)

// drain is the end of a process in three steps: closing, when it takes no new sessions and is not ready any more; begin, when calls are told; and over,
// which ends them.
type drain struct {
	closing, begin, over                   context.Context
	cancelClosing, cancelBegin, cancelOver context.CancelFunc

	mu    sync.Mutex
	until time.Time // valid after closing
}

// newDrain returns a drain that has not begun.
func newDrain() *drain {
	d := &drain{}
	d.closing, d.cancelClosing = context.WithCancel(context.Background())
	d.begin, d.cancelBegin = context.WithCancel(context.Background())
	d.over, d.cancelOver = context.WithCancel(context.Background())
	return d
}

// begun tells whether it has begun, so that nothing new is placed here.
func (d *drain) begun() bool { return d.closing.Err() != nil }

// told tells whether calls are told.
func (d *drain) told() bool { return d.begin.Err() != nil }

// left returns how long calls may go on.
func (d *drain) left() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(time.Until(d.until), 0)
}

// start begins, for a while in which nobody is told and a grace after it. The first call counts.
func (d *drain) start(quiet, grace time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.begun() {
		d.until = time.Now().Add(quiet + grace)
		d.cancelClosing()
	}
}

// tell lets calls be told.
func (d *drain) tell() {
	d.cancelClosing()
	d.cancelBegin()
}

// finish ends at once.
func (d *drain) finish() {
	d.tell()
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
