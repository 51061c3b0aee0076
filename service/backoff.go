package service

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/penstock-media/penstock/resolverstore"
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

// movePatience is how many times Config.MoveTimeout a stream that was served waits for an owner: 2 minutes by default. That is longer than take-overs last, and than Redis
// is away as a rule. While the session waits for its media an owner serves it.
const movePatience = 12

// legs is how the parts follow each other of a stream that follows its session. It is used by one goroutine at a time.
type legs struct {
	patience time.Duration
	pause    backoff
	served   time.Time // since when the owner of this one serves it; zero before
	lost     time.Time // since when none has been of use; zero while one is

	owner resolverstore.Fence // whose the session was at the last one; zero when there was none
	last  place               // where the session was last found, without what is here of it
}

// found takes note of where the session is; nowhere, while nobody can tell.
func (l *legs) found(p place) {
	l.owner = p.fence
	if p.fence != (resolverstore.Fence{}) {
		l.last = place{pod: p.pod, fence: p.fence}
	}
}

// newLegs returns how the parts of a stream follow each other that has none yet.
func (s *Service) newLegs() legs { return legs{patience: s.waits} }

// serve takes note that an owner serves the stream.
func (l *legs) serve() {
	if l.served.IsZero() {
		l.served = time.Now()
	}
}

// another takes note that one has ended, and tells whether it is worth trying another, after a pause. One that ends as soon as it was served is of no use: such could follow
// each other without end.
func (l *legs) another() bool {
	if !l.served.IsZero() && time.Since(l.served) > lastPause {
		l.lost = time.Time{}
		l.pause.reset()
	}
	l.served = time.Time{}
	if l.lost.IsZero() {
		l.lost = time.Now()
	}
	return time.Since(l.lost) < l.patience
}

// rest waits before the next one: for a pause, which ends early when the session has another owner than at the last. Errors: ctx's.
func (l *legs) rest(ctx context.Context, store resolverstore.Store, k resolverstore.SessionKey) error {
	wait, cancel := context.WithCancel(ctx)
	var looking sync.WaitGroup
	if l.owner != (resolverstore.Fence{}) {
		looking.Go(func() {
			rest(wait, firstPause) // What is here may not know yet that it has another one.
			if _, err := store.Owner(wait, k, l.owner); err == nil {
				cancel()
			}
		})
	}
	_ = l.pause.wait(wait)
	cancel()
	looking.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
