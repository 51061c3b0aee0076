package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	podv1 "github.com/penstock-media/penstock/api/penstock/pod/v1"
	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// askTimeout bounds the question to an owner whether a session has ended. One that is paused does not answer; who asks tries its legs again meanwhile.
const askTimeout = 2 * time.Second

// end tells whether the session has really ended, and why; the reason is 0 where nothing is left of it. That an owner is just about to have it, or has it no longer, is no end. What the store does not know the
// last owner may: it is asked once, while nobody else is known to have the session.
func (l *legs) end(ctx context.Context, s *Service, k resolverstore.SessionKey) (reason resolverstore.SessionEndReason, over bool) {
	rec, err := s.cfg.Store.GetSession(ctx, k)
	switch {
	case errors.Is(err, resolverstore.ErrSessionNotFound):
		return 0, true
	case err == nil && rec.State == resolverstore.SessionEnded:
		return rec.EndReason, true
	}
	if one, ok := s.endings.of(k); ok && (err != nil || rec.Fence == one.fence) {
		return one.reason, true
	}
	if l.last.fence == (resolverstore.Fence{}) || err == nil && rec.Fence != l.last.fence {
		return 0, false
	}
	return s.askEnd(ctx, k, l.last)
}

// unfound returns why the session was not found. Without the store nobody can tell where it is; that it has ended the last owner can.
func (l *legs) unfound(ctx context.Context, s *Service, k resolverstore.SessionKey, err error) error {
	if !errors.Is(err, resolverstore.ErrUnavailable) || l.last.fence == (resolverstore.Fence{}) {
		return err
	}
	if _, over := s.askEnd(ctx, k, l.last); over {
		return fmt.Errorf("session %q, by what its owner knows: %w", k.ID, resolverstore.ErrSessionEnded)
	}
	return err
}

// askEnd asks the owner of a fence, which may be this process, whether the session has ended with it.
func (s *Service) askEnd(ctx context.Context, k resolverstore.SessionKey, at place) (reason resolverstore.SessionEndReason, over bool) {
	if at.fence.Owner == s.cfg.Owner {
		return s.knownEnd(k, at.fence)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	to := relay.Pod{Incarnation: at.pod.Incarnation, Address: at.pod.Address}
	hop, span := s.hop(ctx, to, podv1.PodService_GetEnd_FullMethodName)
	reply := &podv1.GetEndResponse{}
	err := s.pods.Call(hop, to, podv1.PodService_GetEnd_FullMethodName, relay.Caller{},
		&podv1.GetEndRequest{Tenant: k.Tenant, SessionId: k.ID, Owner: at.fence.Owner, Epoch: at.fence.Epoch}, reply)
	span.end(err)
	if err != nil { // also where it is of a version that cannot tell
		s.cfg.Logger.Debug("the owner does not tell whether the session has ended", "session", logName(k), "pod", to.Incarnation, "error", err)
		return 0, false
	}
	return resolverstore.SessionEndReason(reply.GetReason()), reply.GetEnded()
}

// knownEnd tells whether a session has ended while this process owned it by a fence, though the store may not know it yet.
func (s *Service) knownEnd(k resolverstore.SessionKey, f resolverstore.Fence) (reason resolverstore.SessionEndReason, over bool) {
	if one, ok := s.endings.of(k); ok && one.fence == f {
		return one.reason, true
	}
	v := s.held(k)
	if v == nil || v.fence != f || s.cfg.Store.Deposed(k, f) {
		return 0, false
	}
	return v.mirror.hasEnded()
}

// GetEnd implements podv1.PodServiceServer. What the owner has told the store it does not keep, and who asks may be the one that cannot reach the store.
func (s *podServer) GetEnd(ctx context.Context, r *podv1.GetEndRequest) (*podv1.GetEndResponse, error) {
	k, f := resolverstore.SessionKey{Tenant: r.GetTenant(), ID: r.GetSessionId()}, resolverstore.Fence{Owner: r.GetOwner(), Epoch: r.GetEpoch()}
	reason, over := s.knownEnd(k, f)
	if !over {
		if rec, err := s.cfg.Store.GetSession(ctx, k); err == nil && rec.Fence == f && rec.State == resolverstore.SessionEnded {
			reason, over = rec.EndReason, true
		}
	}
	if !over {
		return &podv1.GetEndResponse{}, nil
	}
	return &podv1.GetEndResponse{Ended: true, Reason: penstockv1.SessionEndReason(reason)}, nil
}
