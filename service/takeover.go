package service

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/penstock-media/penstock/resolverstore"
)

const (
	// orphanBatch is how many sessions of pods that are gone are asked for at one time.
	orphanBatch = 64
	// takeOversAtOnce is how many sessions are taken over at one time, be they orphans or asked for: each opens a session, and none waits for media.
	takeOversAtOnce = 8
	// orphanPause is how long it takes to ask again after none could be taken.
	orphanPause = time.Second
)

// restartReason is what signalling is told by a new owner.
const restartReason = "another pod has taken the session over; its peer connection is gone"

// adoptOrphans takes this process's share of the sessions over whose owner is gone, until ctx ends.
func (s *Service) adoptOrphans(ctx context.Context) {
	for ctx.Err() == nil {
		recs, err := s.cfg.Store.Orphans(ctx, orphanBatch)
		switch {
		case ctx.Err() != nil, errors.Is(err, resolverstore.ErrClosed):
			return
		case err != nil:
			s.cfg.Logger.Warn("sessions of pods that are gone cannot be found; trying again", "error", err)
		}
		if s.adoptAll(s.drain.over, recs) == 0 { // What has begun is not broken off when a drain begins, or nobody would know whose the session is.
			rest(ctx, orphanPause)
		}
	}
}

// adoptAll takes sessions over, and returns how many it could.
func (s *Service) adoptAll(ctx context.Context, recs []resolverstore.Session) (taken int) {
	var mu sync.Mutex
	var adopting sync.WaitGroup
	for _, rec := range recs {
		adopting.Go(func() {
			if _, err := s.takeOver(ctx, rec.Key, rec.Fence, rec.Fence.Owner == s.cfg.Owner); err != nil {
				s.cfg.Logger.Debug("session not taken over", "session", logName(rec.Key), "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			taken++
		})
	}
	adopting.Wait()
	return taken
}

// rest waits, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// takeOver makes this process the owner of a session in the place of another, which is gone or, with consent, has agreed, and opens it without a peer
// connection: whoever feeds it has to begin again. A session that is open here already is returned. Errors: errDraining, errLimit, and those of the store's
// TakeOver.
func (s *Service) takeOver(ctx context.Context, k resolverstore.SessionKey, from resolverstore.Fence, consent bool) (v *session, err error) {
	leave, err := s.gate.enter(ctx, k)
	if err != nil {
		return nil, err
	}
	defer leave()
	if v := s.session(k); v != nil {
		return v, nil
	}
	if s.endings.has(k, from) {
		return nil, fmt.Errorf("taking session %q over: %w", k.ID, resolverstore.ErrSessionEnded)
	}
	room, err := s.reserve(k.ID)
	if err != nil {
		return nil, s.limits.refusals.limited(err)
	}
	defer room.release()
	if err := s.parted(ctx, k); err != nil {
		return nil, err
	}
	select {
	case s.taking <- struct{}{}:
		defer func() { <-s.taking }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	began := time.Now()
	defer func() { s.traceTakeOver(ctx, began, k, from, v, err) }()
	rec, err := s.cfg.Store.TakeOver(ctx, k, from, consent)
	if err != nil {
		return nil, fmt.Errorf("taking session %q over: %w", k.ID, err)
	}
	servers, err := unsealServers(s.keys, k, rec.Sealed)
	if err != nil {
		s.cfg.Logger.Warn("session taken over without its ICE servers; do all pods have the same secret?", "session", logName(k), "error", err)
	}
	v, err = s.open(rec, servers, room, func() {})
	switch {
	case errors.Is(err, errDraining): // This process stops, and with it its lease: another one takes the session over.
		return nil, err
	case err != nil:
		s.abandon(ctx, rec)
		return nil, err
	}
	if len(servers) > 0 {
		s.sealedBefore(k, rec.Sealed)
	}
	s.counts.takenOver.Add(1)
	return v, nil
}

// traceTakeOver makes the span of a take-over. One that the store does not allow, yet or any more, is none: it is tried again and again.
func (s *Service) traceTakeOver(ctx context.Context, began time.Time, k resolverstore.SessionKey, from resolverstore.Fence, v *session, err error) {
	if errors.Is(err, resolverstore.ErrOwned) || errors.Is(err, resolverstore.ErrFenced) {
		return
	}
	_, span := s.short(ctx, spanTakeOver, trace.WithTimestamp(began), trace.WithAttributes(attrSession.String(k.ID), attrPod.String(from.Owner)))
	if err == nil {
		span.set(attrEpoch.Int64(int64(v.fence.Epoch))) //nolint:gosec // milliseconds
	}
	span.end(err)
}

// parted waits until what was here under a key has come to its end.
func (s *Service) parted(ctx context.Context, k resolverstore.SessionKey) error {
	old := s.held(k)
	if old == nil {
		return nil
	}
	select {
	case <-old.gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
