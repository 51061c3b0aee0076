package service

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/trace"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
)

// trackServer implements TrackService.
type trackServer struct {
	penstockv1.UnimplementedTrackServiceServer
	*Service
}

// ResolveTrack implements penstockv1.TrackServiceServer.
func (s *trackServer) ResolveTrack(ctx context.Context, r *penstockv1.ResolveTrackRequest) (*penstockv1.ResolveTrackResponse, error) {
	ctx, cancel := s.drain.bound(ctx)
	defer cancel()
	sel, k := trackSelector(r.GetSelector()), keyIn(ctx, r.GetSessionId())
	if v := s.session(k); v != nil {
		var leave func()
		ctx, leave = v.here(ctx) // Its next owner does not know that somebody wants the track.
		defer leave()
		// A track that is not sent while nobody wants it would never be live.
		defer v.hub.want(sel, shape{any: true}).close()
	}
	spanCtx, span := s.short(ctx, spanResolve, trace.WithAttributes(attrSession.String(r.GetSessionId())))
	over := s.resolution(spanCtx)
	t, err := s.cfg.Store.Resolve(spanCtx, k, sel)
	span.end(err)
	if err != nil && ctx.Err() != nil {
		err = resolveCause(ctx)
	}
	over(err)
	if err != nil {
		return nil, err
	}
	return &penstockv1.ResolveTrackResponse{Track: s.protoTrack(k, t)}, nil
}

// ListTracks implements penstockv1.TrackServiceServer.
func (s *trackServer) ListTracks(ctx context.Context, r *penstockv1.ListTracksRequest) (*penstockv1.ListTracksResponse, error) {
	k := keyIn(ctx, r.GetSessionId())
	list := listName(k.Tenant, "tracks of "+k.ID, nil)
	after, err := s.openPageToken(list, r.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := pageSize(r.GetPageSize())
	tracks, revision, err := s.cfg.Store.ListTracks(ctx, k, after, size+1)
	if err != nil {
		return nil, err
	}
	out := &penstockv1.ListTracksResponse{Revision: revision}
	if len(tracks) > size {
		tracks = tracks[:size]
		if out.NextPageToken, err = s.newPageToken(list, tracks[size-1].ID); err != nil {
			return nil, err
		}
	}
	for _, t := range tracks {
		out.Tracks = append(out.Tracks, s.protoTrack(k, t))
	}
	return out, nil
}

// WatchTracks implements penstockv1.TrackServiceServer. It ends with OK when the session has ended and that was told; a watch
// that begins after the end is FAILED_PRECONDITION. The handler only waits, since nothing but its return ends a send to a caller that does not read.
func (s *trackServer) WatchTracks(r *penstockv1.WatchTracksRequest, stream penstockv1.TrackService_WatchTracksServer) error {
	ctx, cancel := s.drain.bound(stream.Context())
	defer cancel()
	ended := make(chan error, 1)
	if !s.talk(func() { ended <- s.guardedWatch(ctx, r, stream) }) {
		return errDraining
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// guardedWatch turns a panic into an internal error: the interceptor sees the handler's goroutine only.
func (s *trackServer) guardedWatch(ctx context.Context, r *penstockv1.WatchTracksRequest, stream penstockv1.TrackService_WatchTracksServer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(ctx, "watch", p)
		}
	}()
	return s.watch(ctx, r, stream)
}

// watch sends what changes until the session has ended.
func (s *trackServer) watch(ctx context.Context, r *penstockv1.WatchTracksRequest, stream penstockv1.TrackService_WatchTracksServer) error {
	open := openingOf(ctx)
	open.describe(attrSession.String(r.GetSessionId()))
	rec, err := s.cfg.Store.GetSession(ctx, keyIn(ctx, r.GetSessionId()))
	if err != nil {
		return err
	}
	if rec.State == resolverstore.SessionEnded {
		return resolverstore.ErrSessionEnded
	}
	w, err := s.cfg.Store.Watch(ctx, rec.Key, r.GetAfterRevision())
	if err != nil {
		return err
	}
	defer w.Close()
	revision := r.GetAfterRevision()
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	defer whenExpiring(ctx, cancel)()
	for {
		change, err := w.Next(wait)
		switch {
		case err != nil && wait.Err() != nil && ctx.Err() == nil:
			left, _ := expiresIn(ctx)
			if err := stream.Send(&penstockv1.WatchTracksResponse{Revision: revision, CredentialsExpiring: &penstockv1.CredentialsExpiring{In: left}}); err != nil {
				return err
			}
			wait = ctx //nolint:fatcontext // the context of before, not one more
			continue
		case errors.Is(err, resolverstore.ErrSessionEnded):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		}
		if err := stream.Send(s.protoChange(rec.Key, change)); err != nil {
			return err
		}
		revision = change.Revision
		open.opened()
	}
}

// protoChange returns a change as callers see it.
func (s *Service) protoChange(k resolverstore.SessionKey, c resolverstore.Change) *penstockv1.WatchTracksResponse {
	out := &penstockv1.WatchTracksResponse{Revision: c.Revision, Snapshot: c.Snapshot}
	for _, t := range c.Tracks {
		out.Tracks = append(out.Tracks, s.protoTrack(k, t))
	}
	for _, t := range c.Removed {
		out.Removed = append(out.Removed, &penstockv1.RemovedTrack{
			TrackId: t.ID, Reason: penstockv1.TrackEndReason(t.EndReason),
		})
	}
	return out
}

// protoTrack returns a track with what this process knows of its media.
func (s *Service) protoTrack(k resolverstore.SessionKey, t resolverstore.Track) *penstockv1.Track {
	out := protoTrack(k.ID, t)
	if v := s.session(k); v != nil {
		if m, ok := v.media(t); ok {
			describe(out, m.Stats())
		}
	}
	return out
}
