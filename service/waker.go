package service

import (
	"context"
	"sync"
)

// waker interrupts whoever waits under its context, so that it looks again at what has changed. No call of wake is
// lost: what was changed before it is seen by whoever takes a context and then looks.
type waker struct {
	mu     sync.Mutex
	ctx    context.Context
	cancel context.CancelFunc
}

// context returns a context that ends with parent, or at the next wake.
func (w *waker) context(parent context.Context) context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx == nil || w.ctx.Err() != nil {
		w.ctx, w.cancel = context.WithCancel(parent)
	}
	return w.ctx
}

// wake interrupts.
func (w *waker) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		w.cancel()
	}
}

// await waits until a condition holds, which is looked at after each wake.
func (w *waker) await(parent context.Context, holds func() bool) error {
	for {
		ctx := w.context(parent)
		if holds() {
			return nil
		}
		<-ctx.Done()
		if parent.Err() != nil {
			return context.Cause(parent)
		}
	}
}
