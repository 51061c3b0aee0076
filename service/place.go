package service

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/penstock-media/penstock/resolverstore"
)

// lookAgain is after how long, on average, a caller that waits for a session's next owner looks whether the one before is back.
const lookAgain = 500 * time.Millisecond

// place is where a session is.
type place struct {
	live  *session          // it is here; nil while it is not
	pod   resolverstore.Pod // else it is there
	fence resolverstore.Fence
}

// locate returns where a session is. While its owner is gone it waits for the next one, which may be this process: as soon as the store allows it,
// a caller's wish is reason enough to take the session over. It waits no longer than Config.MoveTimeout: errMoving. Without the store it knows only of what
// is here: ErrUnavailable.
func (s *Service) locate(ctx context.Context, k resolverstore.SessionKey) (p place, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.MoveTimeout, errMoving)
	defer cancel()
	looking := false // for what is not here
	var span *shortSpan
	defer func() { span.located(p, err) }()
	for {
		if !s.cfg.Store.Sure() { // This process was paused: what is here may be another's by now.
			if err := s.cfg.Store.Recheck(ctx); err != nil {
				return place{}, fmt.Errorf("looking again for what is here: %w", waitCause(ctx, err))
			}
		}
		if v := s.session(k); v != nil {
			return place{live: v, fence: v.fence}, nil
		}
		if !looking {
			looking = true
			ctx, span = s.short(ctx, spanLocate, trace.WithAttributes(attrSession.String(k.ID))) //nolint:fatcontext // once
		}
		owner, err := s.cfg.Store.Owner(ctx, k, resolverstore.Fence{})
		one, over := s.endings.of(k)
		switch {
		case over && (err != nil || owner.Session.Fence == one.fence):
			return place{}, fmt.Errorf("session %q, of which the store is still to be told: %w", k.ID, resolverstore.ErrSessionEnded)
		case err != nil:
			return place{}, fmt.Errorf("looking for session %q: %w", k.ID, waitCause(ctx, err))
		case owner.Session.State == resolverstore.SessionEnded:
			return place{}, fmt.Errorf("session %q: %w", k.ID, resolverstore.ErrSessionEnded)
		case owner.Alive && owner.Pod.Incarnation != s.cfg.Owner:
			return place{pod: owner.Pod, fence: owner.Session.Fence}, nil
		}
		if err := s.succeed(ctx, owner.Session); err != nil {
			return place{}, fmt.Errorf("session %q without its owner: %w", k.ID, waitCause(ctx, err))
		}
	}
}

// located ends the span of a search.
func (s *shortSpan) located(p place, err error) {
	if err == nil {
		s.set(attrPod.String(p.fence.Owner), attrEpoch.Int64(int64(p.fence.Epoch))) //nolint:gosec // milliseconds
	}
	s.end(err)
}

// waitCause returns why a wait ended: its context's own reason, if that was it.
func waitCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// succeed takes a session over whose owner is gone, or waits until that may be done or somebody else has done it. Nil says: look again.
func (s *Service) succeed(ctx context.Context, rec resolverstore.Session) error {
	_, err := s.takeOver(ctx, rec.Key, rec.Fence, rec.Fence.Owner == s.cfg.Owner)
	switch {
	case err == nil, errors.Is(err, resolverstore.ErrFenced):
		return nil
	case errors.Is(err, resolverstore.ErrOwned):
		return s.awaitOwner(ctx, rec, true)
	case errors.Is(err, errDraining), errors.Is(err, errLimit), errors.Is(err, resolverstore.ErrLimitReached):
		return s.awaitOwner(ctx, rec, false) // Another pod is to take it.
	}
	return err
}

// awaitOwner waits until a session has another owner, or for a while; or, where that is of use, until it may be taken over. Nil says: look again.
func (s *Service) awaitOwner(ctx context.Context, rec resolverstore.Session, gone bool) error {
	wait, cancel := context.WithTimeout(ctx, lookAgain/2+rand.N(lookAgain)) //nolint:gosec // that many do not look at once
	var waiting sync.WaitGroup
	if gone {
		waiting.Go(func() {
			if s.cfg.Store.Gone(wait, rec.Fence.Owner) == nil {
				rest(wait, firstRetry) // One that has just come back is taken for gone until it is looked at: nobody asks without a pause meanwhile.
				cancel()
			}
		})
	}
	_, err := s.cfg.Store.Owner(wait, rec.Key, rec.Fence)
	over := wait.Err() != nil
	cancel()
	waiting.Wait()
	if ctx.Err() == nil && over {
		return nil
	}
	return err
}
