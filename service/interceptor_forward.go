package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// maxForwards is how many owners a call is tried at, where the session moves while it is under way.
const maxForwards = 3

// ofSession is a request that names a session.
type ofSession interface{ GetSessionId() string }

// route says how a unary call on a session of another pod is served.
type route struct {
	// local tells that this pod can serve it from the store too, less well: it does where the owner cannot be reached.
	local bool
}

// routes has the unary calls that go to the owner. Those that are not in it are answered by any pod from the store; CreateSession goes where
// there is room.
func routes() map[string]route {
	return map[string]route{
		penstockv1.SessionService_GetSession_FullMethodName:       {local: true}, // the owner knows what is on its way to the store
		penstockv1.SessionService_DeleteSession_FullMethodName:    {local: true}, // the owner waits until all is closed
		penstockv1.SessionService_Negotiate_FullMethodName:        {},
		penstockv1.SessionService_AddIceCandidate_FullMethodName:  {},
		penstockv1.SessionService_UpdateIceServers_FullMethodName: {},
		penstockv1.SessionService_ReportEvents_FullMethodName:     {local: true}, // the owner's conversations hear of them
		penstockv1.TrackService_ResolveTrack_FullMethodName:       {local: true}, // the owner asks signalling for the track
		penstockv1.TrackService_GetFrame_FullMethodName:           {},
	}
}

// forwardUnary sends calls on sessions of other pods there. The request goes with its unknown fields, and the reply comes back undecoded. What a pod forwarded is
// served here, or refused: it never goes on.
func (s *Service) forwardUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if create, ok := req.(*penstockv1.CreateSessionRequest); ok {
		return s.placeUnary(ctx, create, info, next)
	}
	r, routed := s.routes[info.FullMethod]
	of, named := req.(ofSession)
	if !routed || !named {
		return next(ctx, req)
	}
	for try := 1; ; try++ {
		reply, err := s.forward(ctx, keyIn(ctx, of.GetSessionId()), info.FullMethod, req)
		switch {
		case errors.Is(err, errServeHere), err != nil && r.local && outOfReach(err) && !errors.Is(err, relay.ErrLooped) && ctx.Err() == nil:
			out, err := next(ctx, req)
			if errors.Is(err, errMoved) && try < maxForwards && ctx.Err() == nil && !wasForwarded(ctx) { // It moved while the call was served here.
				continue
			}
			return out, err
		case err != nil:
			return nil, err
		}
		return reply, nil
	}
}

// wasForwarded tells whether another pod forwards the call.
func wasForwarded(ctx context.Context) bool {
	_, forwarded := relay.Forwarded(ctx)
	return forwarded
}

// forward sends a call to the owner of a session. Where that has just moved it is sent on to the next. Errors: errServeHere where the session is here, or where there
// is none that a handler could not tell as well.
func (s *Service) forward(ctx context.Context, k resolverstore.SessionKey, method string, req any) (*relay.Message, error) {
	var before resolverstore.Fence
	for try := 0; ; try++ {
		at, err := s.locate(ctx, k)
		switch {
		case at.live != nil, errors.Is(err, resolverstore.ErrSessionNotFound), errors.Is(err, resolverstore.ErrSessionEnded):
			return nil, errServeHere
		case err != nil:
			return nil, err
		}
		if wasForwarded(ctx) {
			return nil, fmt.Errorf("%w: session %q is at %s", relay.ErrLooped, k.ID, at.pod.Incarnation)
		}
		if try > 0 && at.fence == before {
			return nil, fmt.Errorf("session %q at %s: %w", k.ID, at.pod.Incarnation, relay.ErrUnreachable)
		}
		before = at.fence
		reply, err := s.invoke(ctx, at, k, method, req)
		if err == nil || try == maxForwards-1 || !outOfReach(err) {
			return reply, err
		}
	}
}

// invoke calls the owner of a session. One that is paused keeps its connections, and does not answer: where the call takes long, it is given up as soon as the
// session has another owner, as out of reach.
func (s *Service) invoke(ctx context.Context, at place, k resolverstore.SessionKey, method string, req any) (*relay.Message, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Add(1)
	watch := time.AfterFunc(lookAgain, func() {
		defer watching.Done()
		s.untilMoved(ctx, at.fence, k, cancel)
	})
	to := relay.Pod{Incarnation: at.pod.Incarnation, Address: at.pod.Address}
	hop, span := s.hop(ctx, to, method)
	reply, err := s.pods.Invoke(hop, to, method, s.callerOf(ctx), req)
	span.end(err)
	if err != nil && errors.Is(context.Cause(ctx), errMoved) {
		err = fmt.Errorf("%w: session %q has left %s, which does not answer", relay.ErrUnreachable, k.ID, at.pod.Incarnation)
	}
	cancel(nil)
	if watch.Stop() {
		watching.Done()
	}
	watching.Wait()
	return reply, err
}

// hop starts the span of a call on another pod, whose spans are its children.
func (s *Service) hop(ctx context.Context, to relay.Pod, method string) (context.Context, *shortSpan) {
	return s.short(ctx, spanForward, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrMethod.String(strings.TrimPrefix(method, "/")), attrPod.String(to.Incarnation)))
}

// outOfReach tells that a call did not get to the session's owner, or was lost with it.
func outOfReach(err error) bool {
	return errors.Is(err, relay.ErrUnreachable) || errors.Is(err, relay.ErrAddress) || errors.Is(err, relay.ErrLooped) ||
		errors.Is(err, errMoving) || reasonOf(err) == penstockv1.ErrorReason_ERROR_REASON_SESSION_MOVING
}
