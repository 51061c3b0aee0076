package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
)

// followed is one call of StreamTrack at the pod that the worker called. It follows the session from owner to owner, one leg after another: a
// leg is served here, or relayed from another pod. One goroutine runs it, and nobody else sends.
type followed struct {
	svc   *Service
	req   *penstockv1.StreamTrackRequest
	out   grpc.ServerStream
	open  *opening
	abort context.CancelCauseFunc // ends it at once; safe for concurrent use

	unopened  unopened
	forwarded bool  // by another pod, which follows; so there is but one leg, here
	at        *mark // nil until the worker got a header
	accepted  bool  // an owner has served it; the worker may wait for its first message
	goingTo   bool  // GoingAway was sent
	warned    bool  // CredentialsExpiring was sent
	legs      legs
	called    time.Time
}

// exemplar returns a context for what is measured of the call, which has its trace.
func (f *followed) exemplar() context.Context {
	return f.out.Context()
}

// key returns which session it is about: one of the caller's tenant.
func (f *followed) key() resolverstore.SessionKey {
	return keyIn(f.out.Context(), f.req.GetSessionId())
}

// guarded runs, and turns a panic into an internal error: the interceptor sees the handler's goroutine only.
func (f *followed) guarded(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = f.svc.panicked(ctx, "stream", p)
		}
	}()
	return f.run(ctx)
}

// run serves one leg after another until the stream ends for good.
func (f *followed) run(ctx context.Context) error {
	for {
		err := f.leg(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !f.goesOn(ctx, err):
			return f.finish(ctx, err)
		}
		f.open.event("owner lost", attrReason.String(err.Error()))
		if err := f.svc.betweenOwners(ctx, f.tell, func(ctx context.Context) error {
			return f.legs.rest(ctx, f.svc.cfg.Store, f.key())
		}); err != nil {
			return err
		}
	}
}

// leg serves the stream where the session is now, until that owner has it no longer.
func (f *followed) leg(ctx context.Context) error {
	var p place
	err := f.svc.betweenOwners(ctx, f.tell, func(ctx context.Context) (err error) {
		p, err = f.svc.locate(ctx, f.key())
		return err
	})
	f.legs.found(p)
	switch {
	case err != nil:
		return f.legs.unfound(ctx, f.svc, f.key(), err)
	case f.at != nil && p.fence.Epoch < f.at.epoch:
		return errMoved // what is here is of before
	case p.live != nil:
		return f.serve(ctx, p.live)
	case f.forwarded:
		return errMoved
	case f.req.GetAcceptRedirect() && !f.accepted && p.pod.Address != "":
		f.svc.meters.redirects.Add(1)
		return elsewhere(p.pod)
	}
	return f.relay(ctx, p)
}

// serve serves a leg here.
func (f *followed) serve(ctx context.Context, live *session) error {
	st, err := f.newStream(live)
	if err != nil {
		return err
	}
	if err := f.accept(); err != nil {
		st.attach.close()
		return err
	}
	ctx, cancel := live.here(ctx)
	defer cancel()
	defer context.AfterFunc(f.svc.drain.begin, st.attach.waker.wake)()
	defer whenExpiring(ctx, st.attach.waker.wake)()
	return st.run(ctx)
}

// accept takes note that an owner serves the stream, and tells the worker by the call's header metadata: it may be long until there is a first message.
func (f *followed) accept() error {
	told := f.accepted
	f.served()
	if told {
		return nil
	}
	return f.out.SendHeader(nil)
}

// served takes note that the leg's owner serves the stream.
func (f *followed) served() {
	f.accepted = true
	f.legs.serve()
}

// goesOn tells whether the stream outlives an error of a leg: only that the session is elsewhere, or its owner gone, is no end. Before an owner has
// accepted the stream the worker can as well call again.
func (f *followed) goesOn(ctx context.Context, err error) bool {
	switch {
	case f.forwarded:
		return false
	case errors.Is(err, errMoved):
	case !f.accepted, !f.ownerLost(ctx, err):
		return false
	}
	return f.legs.another()
}

// ownerLost tells whether an error means that the leg's owner is lost, or was not found, while the session may go on.
func (f *followed) ownerLost(ctx context.Context, err error) bool {
	switch reason, code := verdict(err); reason {
	case penstockv1.ErrorReason_ERROR_REASON_UNSPECIFIED: // the transport's, of the way to the worker
		return false
	case penstockv1.ErrorReason_ERROR_REASON_SESSION_ENDED, penstockv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND:
		_, over := f.legs.end(ctx, f.svc, f.key())
		return !over
	default:
		return code == codes.Unavailable
	}
}

// verdict returns the reason and the code that an error has for the caller. There is no reason where the error is gRPC's own.
func verdict(err error) (penstockv1.ErrorReason, codes.Code) {
	var own *failure
	if st, ok := status.FromError(err); ok && !errors.As(err, &own) {
		return reasonOf(err), st.Code()
	}
	reason := classify(err).reason
	return reason, replyOf(reason).code
}

// finish returns how the stream ends by the error of a leg. If the worker had media, it is told the end of what it had by an event, as
// if one leg had served it all.
func (f *followed) finish(ctx context.Context, err error) error {
	if f.at == nil {
		return err
	}
	var reason resolverstore.TrackEndReason
	switch name, _ := verdict(err); name {
	case penstockv1.ErrorReason_ERROR_REASON_PARTICIPANT_LEFT:
		reason = resolverstore.TrackParticipantLeft
	case penstockv1.ErrorReason_ERROR_REASON_TRACK_NOT_FOUND:
		reason = resolverstore.TrackMediaEnded
	case penstockv1.ErrorReason_ERROR_REASON_SESSION_ENDED, penstockv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND:
		end, over := f.legs.end(ctx, f.svc, f.key())
		if !over { // Nobody had it for too long, or nobody can tell.
			return fmt.Errorf("%w: %v", errMoving, err) //nolint:errorlint // what it says is not so
		}
		reason = trackEnd(end)
	default:
		return err
	}
	return f.event(&penstockv1.StreamEvent{
		PresentationTimeNs: int64(f.at.at),
		Event:              &penstockv1.StreamEvent_Ended{Ended: &penstockv1.TrackEnded{Reason: penstockv1.TrackEndReason(reason)}},
	})
}

// event sends what happened.
func (f *followed) event(e *penstockv1.StreamEvent) error {
	return f.out.SendMsg(&penstockv1.StreamTrackResponse{Message: &penstockv1.StreamTrackResponse_Event{Event: e}})
}

// tell tells what this pod has to tell while no owner serves the stream. Before its first header unopened does.
func (f *followed) tell(context.Context) error {
	if f.at == nil {
		return nil
	}
	if err := f.tellDrain(f.at.at); err != nil {
		return err
	}
	return f.tellExpiry(f.at.at)
}

// tellDrain tells once that this process is about to stop. That of the owner, if it is another one, does not concern the worker.
func (f *followed) tellDrain(at time.Duration) error {
	if f.goingTo || f.forwarded || f.at == nil || !f.svc.drain.told() {
		return nil
	}
	f.goingTo = true
	return f.event(&penstockv1.StreamEvent{
		PresentationTimeNs: int64(at),
		Event: &penstockv1.StreamEvent_GoingAway{GoingAway: &penstockv1.GoingAway{
			Grace: durationpb.New(f.svc.drain.left()),
		}},
	})
}

// tellExpiry tells once that the worker's credentials are about to expire, when it has had a header.
func (f *followed) tellExpiry(at time.Duration) error {
	if f.warned || f.at == nil {
		return nil
	}
	left, soon := expiresIn(f.out.Context())
	if !soon {
		return nil
	}
	f.warned = true
	return f.event(&penstockv1.StreamEvent{
		PresentationTimeNs: int64(at),
		Event:              &penstockv1.StreamEvent_CredentialsExpiring{CredentialsExpiring: &penstockv1.CredentialsExpiring{In: left}},
	})
}

// began takes note that the worker got a header of an owner.
func (f *followed) began(start time.Time, epoch uint64) {
	if f.at == nil {
		f.at = &mark{}
		if !f.forwarded {
			f.svc.meters.open.Record(f.exemplar(), time.Since(f.called).Seconds())
		}
	}
	f.at.start = start
	if f.at.epoch != epoch {
		f.at.epoch, f.at.sequence = epoch, 0
	}
}

// got takes note that the worker got a frame, which ends at a presentation time.
func (f *followed) got(epoch, sequence uint64, end time.Duration) {
	f.at.epoch, f.at.sequence, f.at.at = epoch, sequence, max(f.at.at, end)
}

// elsewhere is the redirect to the pod that has the session, as its lease names it.
func elsewhere(p resolverstore.Pod) error {
	return &failure{
		reason: penstockv1.ErrorReason_ERROR_REASON_SESSION_ELSEWHERE, metadata: map[string]string{"address": p.Address},
	}
}
