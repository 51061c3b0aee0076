package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
	"github.com/penstock-media/penstock/service/internal/identity"
)

// sessionServer implements SessionService.
type sessionServer struct {
	penstockv1.UnimplementedSessionServiceServer
	*Service
}

// CreateSession implements penstockv1.SessionServiceServer.
func (s *sessionServer) CreateSession(ctx context.Context, r *penstockv1.CreateSessionRequest) (*penstockv1.CreateSessionResponse, error) {
	switch r.GetSource().(type) {
	case *penstockv1.CreateSessionRequest_Livekit:
		return nil, notImplemented("The source livekit")
	case *penstockv1.CreateSessionRequest_Whep:
		return nil, notImplemented("The source whep")
	}
	hashes, err := requestHashes(s.keys, r)
	if err != nil {
		return nil, err
	}
	wanted := resolverstore.Session{
		Key: keyIn(ctx, r.GetSessionId()), Labels: r.GetLabels(), Source: resolverstore.SourceOffers,
		RequestHash: hashes[0], Grace: r.GetGrace().AsDuration(),
	}
	rec, err := s.create(ctx, wanted, iceServers(r.GetIceServers()))
	for _, before := range hashes[1:] {
		if err != nil {
			wanted.RequestHash = before
			rec, err = s.madeBefore(ctx, wanted, err)
		}
	}
	if err != nil {
		return nil, err
	}
	return &penstockv1.CreateSessionResponse{Session: protoSession(rec)}, nil
}

// create stores a session and opens it, unless the same request made it before. It has its place, among all sessions and its caller's, before anything is stored: who asks for more than that costs the store a look.
func (s *Service) create(ctx context.Context, rec resolverstore.Session, servers []rtcpool.ICEServer) (resolverstore.Session, error) {
	if s.drain.begun() {
		return rec, errDraining
	}
	if rec.Key.ID == "" {
		rec.Key.ID = newSessionID()
	}
	leave, err := s.gate.enter(ctx, rec.Key)
	if err != nil {
		return rec, err
	}
	defer leave()
	yield, room, err := s.admit(ctx, rec.Key)
	if err != nil {
		return s.madeBefore(ctx, rec, err)
	}
	defer room.release()
	opened := false
	defer func() {
		if !opened {
			yield()
		}
	}()
	s.begin(&rec)
	if rec.Sealed, err = sealServers(s.keys, rec.Key, servers); err != nil {
		return rec, err
	}
	stored, created, err := s.cfg.Store.CreateSession(ctx, rec)
	if err != nil {
		return rec, fmt.Errorf("creating session %q: %w", rec.Key.ID, err)
	}
	if !created {
		return stored, nil
	}
	if err := s.parted(ctx, rec.Key); err != nil { // The end of who had the id before is stored, and about to be done with.
		s.abandon(ctx, stored)
		return rec, err
	}
	if _, err := s.open(stored, servers, room, yield); err != nil {
		s.abandon(ctx, stored) // Nobody has been told of it, so that its end has no reason to tell.
		return rec, err
	}
	opened = true
	s.sealedBefore(rec.Key, rec.Sealed)
	return stored, nil
}

// begin fills in what a session of this process begins with.
func (s *Service) begin(rec *resolverstore.Session) {
	if rec.Grace == 0 {
		rec.Grace = s.cfg.Grace
	}
	now := time.Now()
	rec.State = resolverstore.SessionAwaitingOffer
	// Never below the wall clock, so that an id that is used again has higher epochs than before.
	rec.Fence = resolverstore.Fence{Owner: s.cfg.Owner, Epoch: uint64(now.UnixMilli())}
	rec.OwnerAddress = s.cfg.OwnerAddress
	rec.Created, rec.Expires = now, now.Add(rec.Grace)
}

// admit keeps a place for one more session of a caller: yield gives its share of them back, when the session is over or is not to be. One of that id that has just ended
// gives its place up first. Errors: errLimit, which is not counted, errDraining, ctx's.
func (s *Service) admit(ctx context.Context, k resolverstore.SessionKey) (yield func(), kept *room, err error) {
	if old := s.held(k); old != nil {
		if _, ended := old.mirror.hasEnded(); ended {
			select {
			case <-old.vacant:
			case <-ctx.Done():
				return nil, nil, context.Cause(ctx)
			}
		}
	}
	if yield, err = s.limits.sessions.take(s.callerKey(ctx)); err != nil {
		return nil, nil, err
	}
	if kept, err = s.reserve(k.ID); err != nil {
		yield()
		return nil, nil, err
	}
	return yield, kept, nil
}

// madeBefore returns the session that the same request made before, which is refused for lack of room, of which that one needs none, or since there is one; else the refusal.
func (s *Service) madeBefore(ctx context.Context, rec resolverstore.Session, refusal error) (resolverstore.Session, error) {
	if !errors.Is(refusal, errLimit) && !errors.Is(refusal, resolverstore.ErrSessionExists) {
		return rec, refusal
	}
	stored, err := s.cfg.Store.GetSession(ctx, rec.Key)
	if err != nil || stored.State == resolverstore.SessionEnded || !resolverstore.SameRequest(stored, rec) {
		return rec, s.limits.refusals.limited(refusal)
	}
	return stored, nil
}

// GetSession implements penstockv1.SessionServiceServer.
func (s *sessionServer) GetSession(ctx context.Context, r *penstockv1.GetSessionRequest) (*penstockv1.GetSessionResponse, error) {
	rec, err := s.record(ctx, keyIn(ctx, r.GetSessionId()))
	if err != nil {
		return nil, err
	}
	return &penstockv1.GetSessionResponse{Session: protoSession(rec)}, nil
}

// ListSessions implements penstockv1.SessionServiceServer.
func (s *sessionServer) ListSessions(ctx context.Context, r *penstockv1.ListSessionsRequest) (*penstockv1.ListSessionsResponse, error) {
	tenant := identity.Tenant(ctx)
	list := listName(tenant, "sessions", r.GetLabels())
	after, err := s.openPageToken(list, r.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := pageSize(r.GetPageSize())
	recs, err := s.cfg.Store.ListSessions(ctx, tenant, after, r.GetLabels(), size+1)
	if err != nil {
		return nil, err
	}
	out := &penstockv1.ListSessionsResponse{}
	if len(recs) > size {
		recs = recs[:size]
		if out.NextPageToken, err = s.newPageToken(list, recs[size-1].Key.ID); err != nil {
			return nil, err
		}
	}
	who, _ := s.whoIs(ctx)
	for _, rec := range recs {
		if !who.MaySession(rec.Key.ID) { // Pages of a caller that may use but some sessions are shorter.
			continue
		}
		s.overlay(&rec)
		out.Sessions = append(out.Sessions, protoSession(rec))
	}
	return out, nil
}

// DeleteSession implements penstockv1.SessionServiceServer.
func (s *sessionServer) DeleteSession(ctx context.Context, r *penstockv1.DeleteSessionRequest) (*penstockv1.DeleteSessionResponse, error) {
	if err := s.delete(ctx, keyIn(ctx, r.GetSessionId())); err != nil {
		return nil, err
	}
	return &penstockv1.DeleteSessionResponse{}, nil
}

// delete ends a session. The store knows first, so that streams learn why their media end.
func (s *Service) delete(ctx context.Context, k resolverstore.SessionKey) error {
	leave, err := s.gate.enter(ctx, k)
	if err != nil {
		return err
	}
	defer leave()
	if err := s.cfg.Store.EndSession(ctx, k, resolverstore.SessionDeleted); err != nil {
		return fmt.Errorf("deleting session %q: %w", k.ID, err)
	}
	if v := s.session(k); v != nil {
		v.end(ctx, resolverstore.SessionDeleted)
	}
	return nil
}

// Negotiate implements penstockv1.SessionServiceServer. An offer to a session that has ended is dropped, not refused: it
// is late, and signalling cannot help that.
func (s *sessionServer) Negotiate(ctx context.Context, r *penstockv1.NegotiateRequest) (*penstockv1.NegotiateResponse, error) {
	v, err := s.lookup(ctx, keyIn(ctx, r.GetSessionId()))
	if errors.Is(err, resolverstore.ErrSessionEnded) {
		return dropped(rtcpool.DropClosed, 0), nil
	}
	if err != nil {
		return nil, err
	}
	result, err := v.negotiate(ctx, rtcpool.Offer{
		Generation: r.GetGeneration(), SDP: r.GetSdp(), Trickle: v.hub.listening(),
	})
	if err != nil {
		return nil, err
	}
	return protoResult(result), nil
}

// AddIceCandidate implements penstockv1.SessionServiceServer.
func (s *sessionServer) AddIceCandidate(ctx context.Context, r *penstockv1.AddIceCandidateRequest) (*penstockv1.AddIceCandidateResponse, error) {
	v, err := s.lookup(ctx, keyIn(ctx, r.GetSessionId()))
	if errors.Is(err, resolverstore.ErrSessionEnded) {
		return &penstockv1.AddIceCandidateResponse{Result: penstockv1.CandidateResult_CANDIDATE_RESULT_DROPPED}, nil
	}
	if err != nil {
		return nil, err
	}
	result, err := v.rtc.AddCandidate(ctx, r.GetGeneration(), candidate(r.GetCandidate()))
	switch {
	case err != nil:
		return nil, err
	case result == rtcpool.CandidateDropped && v.moved.Err() != nil:
		return nil, errMoved
	}
	return &penstockv1.AddIceCandidateResponse{Result: penstockv1.CandidateResult(result)}, nil
}

// UpdateIceServers implements penstockv1.SessionServiceServer.
func (s *sessionServer) UpdateIceServers(ctx context.Context, r *penstockv1.UpdateIceServersRequest) (*penstockv1.UpdateIceServersResponse, error) {
	v, err := s.lookup(ctx, keyIn(ctx, r.GetSessionId()))
	if err != nil {
		return nil, err
	}
	if err := v.setServers(ctx, iceServers(r.GetIceServers())); err != nil {
		return nil, err
	}
	return &penstockv1.UpdateIceServersResponse{}, nil
}

// ReportEvents implements penstockv1.SessionServiceServer.
func (s *sessionServer) ReportEvents(ctx context.Context, r *penstockv1.ReportEventsRequest) (*penstockv1.ReportEventsResponse, error) {
	return s.report(ctx, keyIn(ctx, r.GetSessionId()), r.GetEvents())
}
