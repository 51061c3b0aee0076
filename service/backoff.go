package service

import (
	"context"
	"math/rand/v2"
	"time"
)

// The bounds of a backoff.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
)

// backoff is the pause between attempts, each twice as long as the one before, with jitter. Its zero value has made none.
type backoff struct{ pause time.Duration }

// reset takes note that an attempt was of use.
func (b *backoff) reset() { b.pause = 0 }

// wait waits. Errors: ctx's.
func (b *backoff) wait(ctx context.Context) error {
	b.pause = min(max(2*b.pause, firstPause), lastPause)
	timer := time.NewTimer(b.pause/2 + rand.N(b.pause)) //nolint:gosec // that many do not come at once
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
