package service

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"

	podv1 "github.com/penstock-media/penstock/api/penstock/pod/v1"
	"github.com/penstock-media/penstock/connector/whip"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// HandleWHIP gives the service the endpoint that publishes into it, to serve what came to another pod's. It must be called before the gRPC server serves.
func (s *Service) HandleWHIP(h *whip.Handler) { s.whip.Store(h) }

// WHIPElsewhere implements whip.Elsewhere: requests go to the pod that owns their session, and a session that is to be created is placed as any other.
func (s *Service) WHIPElsewhere(ctx context.Context, r whip.Request) (whip.Response, bool, error) {
	var f faults
	if f.session(r.SessionID); f.err() != nil {
		return whip.Response{}, false, nil
	}
	at, err := s.locate(ctx, keyIn(ctx, r.SessionID))
	switch {
	case at.live != nil:
		return whip.Response{}, false, nil
	case errors.Is(err, resolverstore.ErrSessionNotFound) || errors.Is(err, resolverstore.ErrSessionEnded):
		if r.Method != http.MethodPost || !s.cfg.WHIPCreate {
			return whip.Response{}, false, nil
		}
		return s.placeWHIP(ctx, r)
	case err != nil:
		return whip.Response{}, false, whipError(err)
	}
	a, err := s.whipAt(ctx, at.pod, r)
	return a, err == nil, err
}

// placeWHIP has a publisher's session created at the first pod that takes it.
func (s *Service) placeWHIP(ctx context.Context, r whip.Request) (whip.Response, bool, error) {
	pods, err := s.cfg.Store.Pods(ctx)
	if err != nil {
		return whip.Response{}, false, nil //nolint:nilerr // here it will be told
	}
	for _, p := range placement(s.cfg.Owner, pods, mathrand.IntN) {
		if p.Incarnation == s.cfg.Owner && !s.takesNone() {
			return whip.Response{}, false, nil
		}
		if p.Incarnation == s.cfg.Owner {
			continue
		}
		a, err := s.whipAt(ctx, p, r)
		switch {
		case err == nil && a.Status != http.StatusServiceUnavailable:
			return a, true, nil
		case ctx.Err() != nil:
			return whip.Response{}, false, err
		}
	}
	return whip.Response{}, false, nil
}

// takesNone tells that this process takes no new session at the moment.
func (s *Service) takesNone() bool { return s.Draining() || s.Sessions() >= s.cfg.Limits.Sessions }

// whipAt hands a request to a pod. Errors are those that the endpoint knows.
func (s *Service) whipAt(ctx context.Context, p resolverstore.Pod, r whip.Request) (whip.Response, error) {
	reply := &podv1.ServeWhipResponse{}
	to := relay.Pod{Incarnation: p.Incarnation, Address: p.Address}
	hop, span := s.hop(ctx, to, podv1.PodService_ServeWhip_FullMethodName)
	err := s.pods.Call(hop, to, podv1.PodService_ServeWhip_FullMethodName, s.callerOf(ctx), &podv1.ServeWhipRequest{
		Method: r.Method, SessionId: r.SessionID, ResourceId: r.ResourceID, Query: r.Query, ContentType: r.ContentType, IfMatch: r.IfMatch, Body: r.Body,
	}, reply)
	span.end(err)
	if err != nil {
		return whip.Response{}, whipError(err)
	}
	a := whip.Response{Status: int(reply.GetStatus()), Header: http.Header{}, Body: reply.GetBody()}
	for _, h := range reply.GetHeaders() {
		a.Header.Add(h.GetName(), h.GetValue())
	}
	if a.Status < http.StatusOK || a.Status > 599 {
		return whip.Response{}, fmt.Errorf("pod %s answers with the status %d", p.Incarnation, a.Status)
	}
	return a, nil
}

// ServeWhip implements podv1.PodServiceServer.
func (s *podServer) ServeWhip(ctx context.Context, r *podv1.ServeWhipRequest) (*podv1.ServeWhipResponse, error) {
	h := s.whip.Load()
	if h == nil {
		return nil, notImplemented("WHIP")
	}
	a := h.Serve(ctx, whip.Request{
		Method: r.GetMethod(), SessionID: r.GetSessionId(), ResourceID: r.GetResourceId(), Query: r.GetQuery(),
		ContentType: r.GetContentType(), IfMatch: r.GetIfMatch(), Body: r.GetBody(),
	})
	reply := &podv1.ServeWhipResponse{Status: uint32(a.Status), Body: a.Body}
	for name, values := range a.Header {
		for _, v := range values {
			reply.Headers = append(reply.Headers, &podv1.HttpHeader{Name: name, Value: v})
		}
	}
	return reply, nil
}
