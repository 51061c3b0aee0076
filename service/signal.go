package service

import (
	"context"
	"fmt"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
)

// Signal implements penstockv1.SessionServiceServer. The handler only waits, since nothing but its return ends a send to a caller that does not read.
func (s *sessionServer) Signal(stream penstockv1.SessionService_SignalServer) error {
	ctx, stop := s.drain.bound(stream.Context())
	defer stop()
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(context.Canceled)
	c := newCalling(ctx, s.Service, stream, abort)
	ended := make(chan error, 1)
	if !s.talk(func() { c.read(ctx) }, func() { ended <- c.guarded(ctx) }) {
		return errDraining
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// observer tells what a session's peer connections do to all whom it concerns.
type observer struct {
	*mirror
	hub *hub
}

// StateChanged implements rtcpool.Observer.
func (o observer) StateChanged(generation uint64, state rtcpool.State) {
	o.mirror.StateChanged(generation, state)
	o.hub.stateChanged(generation, state)
}

// CandidateGathered implements rtcpool.Observer.
func (o observer) CandidateGathered(generation uint64, c rtcpool.Candidate) {
	o.hub.gatheredOne(generation, c)
}

// RestartNeeded implements rtcpool.Observer.
func (o observer) RestartNeeded(r rtcpool.Restart) { o.hub.restartNeeded(r) }

// SessionEnded implements rtcpool.Observer. Media that were lost after signalling was are signalling's fault: it did not
// come back to mend them.
func (o observer) SessionEnded(reason rtcpool.EndReason) {
	if reason == rtcpool.EndMediaLost && o.hub.signallingLost() {
		o.mirror.endWith(resolverstore.SessionSignallingLost)
	}
	o.mirror.SessionEnded(reason) // Signalling is told as soon as the store agrees: see session.follow.
}

// signalling takes note that a conversation was opened or lost. While nothing was offered yet, an open one keeps the session.
func (v *session) signalling() {
	v.keeping.Lock()
	defer v.keeping.Unlock()
	open := v.hub.listening() // as it is now: another conversation may have come or gone since
	if v.rtc.HoldGrace(context.Background(), open) {
		v.mirror.awaiting(open)
	}
}

// record returns a session as the store knows it, with what its peer connections have told and is still on its way there.
func (s *Service) record(ctx context.Context, k resolverstore.SessionKey) (resolverstore.Session, error) {
	rec, err := s.cfg.Store.GetSession(ctx, k)
	if err != nil {
		return rec, fmt.Errorf("reading session %q: %w", k.ID, err)
	}
	s.overlay(&rec)
	return rec, nil
}

// overlay brings a session of the store up to what its peer connections have told, if they are here.
func (s *Service) overlay(rec *resolverstore.Session) {
	if v := s.session(rec.Key); v != nil && rec.State != resolverstore.SessionEnded {
		v.mirror.overlay(rec)
		rec.MinGeneration = max(rec.MinGeneration, v.hub.minGeneration())
	}
	if one, ok := s.endings.of(rec.Key); ok && one.fence == rec.Fence && rec.State != resolverstore.SessionEnded { // The store is still to be told.
		rec.State, rec.EndReason = resolverstore.SessionEnded, one.reason
	}
}

// report applies call events, and tells which of them could not be used.
func (s *Service) report(ctx context.Context, k resolverstore.SessionKey, in []*penstockv1.CallEvent) (*penstockv1.ReportEventsResponse, error) {
	events, index, ignored := callEvents(in)
	applied, err := s.cfg.Store.ApplyEvents(ctx, k, events)
	if err != nil {
		return nil, err
	}
	for _, v := range applied.Ignored {
		if v.Index < 0 || v.Index >= len(index) {
			continue
		}
		if v.Limit {
			s.limits.refusals[limitFacts].Add(1)
		}
		ignored = append(ignored, &penstockv1.IgnoredEvent{Index: uint32(index[v.Index]), Reason: v.Reason})
	}
	if v := s.session(k); v != nil {
		v.hub.reported(events)
	}
	return &penstockv1.ReportEventsResponse{Revision: applied.Revision, Ignored: ignored}, nil
}
