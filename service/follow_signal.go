package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// maxUnanswered bounds the requests of one call of Signal that have no reply yet. Before there is room no other is read.
const maxUnanswered = 128

// line is what a conversation is held over: the caller's stream, or one leg of it.
type line interface {
	Recv() (*penstockv1.SignalRequest, error)
	Send(*penstockv1.SignalResponse) error
}

// calling is one call of Signal at the pod that the caller called. It follows the session from owner to owner, one leg after another: a
// conversation here, or one that is relayed from another pod. One goroutine runs it and another one reads; of a leg, one at a time sends.
type calling struct {
	svc    *Service
	stream penstockv1.SessionService_SignalServer
	abort  context.CancelCauseFunc // ends it at once; safe for concurrent use
	since  time.Time               // when the caller opened it, at whichever pod

	in    chan *penstockv1.SignalRequest // unbuffered; closed after the last
	last  error                          // why there are no more; valid when in is closed
	slots chan struct{}                  // one for each request without a reply

	forwarded bool // by another pod, which follows; so there is but one leg, here
	open      *penstockv1.SignalRequest
	at        atomic.Uint64 // the generation that the caller is at, for legs that are yet to be opened
	reopened  bool          // the pod that follows the session with it had another leg before
	begun     bool          // the caller has got the reply to open
	goingTo   bool          // it has been told that this process is about to stop
	warned    bool          // it has been told that its credentials are about to expire
	legs      legs
	opening   *opening

	unanswered unanswered
}

// newCalling returns a call that has not begun.
func newCalling(ctx context.Context, svc *Service, stream penstockv1.SessionService_SignalServer, abort context.CancelCauseFunc) *calling {
	c := &calling{
		svc: svc, stream: stream, abort: abort, since: time.Now(), opening: openingOf(ctx),
		in: make(chan *penstockv1.SignalRequest), slots: make(chan struct{}, maxUnanswered), legs: svc.newLegs(),
	}
	if _, c.forwarded = relay.Forwarded(ctx); c.forwarded {
		if since, again, ok := relay.Since(ctx); ok {
			c.since, c.reopened = since, again
		}
	}
	return c
}

// read takes what the caller sends, until there is no more.
func (c *calling) read(ctx context.Context) {
	defer close(c.in)
	for {
		r, err := c.stream.Recv()
		if err != nil {
			c.last = err
			return
		}
		select {
		case c.in <- r:
		case <-ctx.Done():
			c.last = context.Cause(ctx)
			return
		}
	}
}

// guarded runs, and turns a panic into an internal error: the interceptor sees the handler's goroutine only.
func (c *calling) guarded(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = c.svc.panicked(ctx, "conversation", p)
		}
	}()
	switch err := c.first(ctx); {
	case errors.Is(err, io.EOF): // The caller had nothing to say.
		return nil
	case err != nil:
		return err
	}
	return c.run(ctx)
}

// first takes the first request, which must be open. io.EOF when there is none.
func (c *calling) first(ctx context.Context) error {
	idle := time.AfterFunc(c.svc.cfg.SignalPatience, func() { c.abort(errSignalIdle) })
	defer idle.Stop()
	select {
	case r, ok := <-c.in:
		if !ok {
			return c.last
		}
		c.open = r
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var f faults
	if o := c.open.GetOpen(); o == nil {
		f.add("open", "must be the first message")
	} else {
		f.session(o.GetSessionId())
	}
	if err := f.err(); err != nil {
		return err
	}
	c.opening.describe(attrSession.String(c.open.GetOpen().GetSessionId()))
	return nil
}

// run holds one leg after another until the conversation ends for good.
func (c *calling) run(ctx context.Context) error {
	for {
		err := c.leg(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !c.goesOn(ctx, err):
			return c.finish(ctx, err)
		}
		c.opening.event("owner lost", attrReason.String(err.Error()))
		if err := c.giveUp(); err != nil {
			return err
		}
		if err := c.svc.betweenOwners(ctx, c.tell, func(ctx context.Context) error {
			return c.legs.rest(ctx, c.svc.cfg.Store, c.key())
		}); err != nil {
			return err
		}
	}
}

// leg holds the conversation where the session is now, until that owner has it no longer.
func (c *calling) leg(ctx context.Context) error {
	var p place
	err := c.svc.betweenOwners(ctx, c.tell, func(ctx context.Context) (err error) {
		p, err = c.svc.locate(ctx, c.key())
		return err
	})
	c.legs.found(p)
	switch {
	case err != nil:
		return c.legs.unfound(ctx, c.svc, c.key(), err)
	case p.live != nil:
		return c.converse(ctx, p.live)
	case c.forwarded:
		return errMoved
	}
	return c.relay(ctx, p)
}

// key returns which session it is about: one of the caller's tenant.
func (c *calling) key() resolverstore.SessionKey {
	return keyIn(c.stream.Context(), c.open.GetOpen().GetSessionId())
}

// converse holds a conversation with a session that is here.
func (c *calling) converse(ctx context.Context, live *session) error {
	v := newConversation(ctx, c.svc, live)
	v.since, v.again, v.forwarded = c.since, c.begun || c.reopened, c.forwarded
	v.line = &legLine{call: c, ctx: v.ctx}
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(v.send)
	work.Go(v.receive)
	return v.wait()
}

// goesOn tells whether the conversation outlives an error of a leg: only that the session is elsewhere, or its owner gone, is no end. Before it was
// opened the caller can as well call again.
func (c *calling) goesOn(ctx context.Context, err error) bool {
	switch {
	case c.forwarded:
		return false
	case errors.Is(err, errMoved):
	case !c.begun:
		return false
	default:
		switch reason, code := verdict(err); reason {
		case penstockv1.ErrorReason_ERROR_REASON_UNSPECIFIED: // the transport's, of the way to the caller
			return false
		case penstockv1.ErrorReason_ERROR_REASON_SESSION_ENDED, penstockv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND:
			if _, over := c.legs.end(ctx, c.svc, c.key()); over {
				return false
			}
		default:
			if code != codes.Unavailable {
				return false
			}
		}
	}
	return c.legs.another()
}

// tell tells what this pod has to tell while no owner holds the conversation, once the caller has got the reply to open.
func (c *calling) tell(ctx context.Context) error {
	if !c.begun || c.forwarded {
		return nil
	}
	if c.svc.drain.told() && !c.goingTo {
		if err := c.deliver(protoGoingAway(c.svc.drain.left())); err != nil {
			return err
		}
	}
	if left, soon := expiresIn(ctx); soon && !c.warned {
		return c.deliver(protoExpiring(left))
	}
	return nil
}

// giveUp tells the caller which of its requests were lost with a leg.
func (c *calling) giveUp() error {
	for _, id := range c.unanswered.all() {
		m := protoError(errMoving)
		m.RequestId = id
		if err := c.deliver(m); err != nil {
			return err
		}
	}
	return nil
}

// finish returns how the conversation ends by the error of a leg. The end of the session is told as if one leg had held it all.
func (c *calling) finish(ctx context.Context, err error) error {
	reason, _ := verdict(err)
	over := reason == penstockv1.ErrorReason_ERROR_REASON_SESSION_ENDED || reason == penstockv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND
	if !c.begun || !over {
		return err
	}
	end, known := c.legs.end(ctx, c.svc, c.key())
	switch {
	case !known: // Nobody had it for too long, or nobody can tell.
		return fmt.Errorf("%w: %v", errMoving, err) //nolint:errorlint // what it says is not so
	case end == 0: // It is so long ago that nothing is left of it.
		end = resolverstore.SessionSignallingLost
	}
	return c.deliver(&penstockv1.SignalResponse{Message: &penstockv1.SignalResponse_Ended{
		Ended: &penstockv1.SignalEnded{Reason: penstockv1.SessionEndReason(end)},
	}})
}

// deliver sends to the caller. A caller that does not read ends the call.
func (c *calling) deliver(m *penstockv1.SignalResponse) error {
	if isReply(m) && c.unanswered.remove(m.GetRequestId()) {
		<-c.slots
	}
	switch v := m.GetMessage().(type) {
	case *penstockv1.SignalResponse_Opened:
		c.legs.serve()
		if c.begun { // The caller knows of the first.
			return nil
		}
		c.begun = true
		c.opening.opened()
	case *penstockv1.SignalResponse_GoingAway:
		if c.goingTo {
			return nil
		}
		c.goingTo = true
	case *penstockv1.SignalResponse_CredentialsExpiring:
		if c.warned {
			return nil
		}
		c.warned = true
	case *penstockv1.SignalResponse_Answer:
		c.at.Store(max(c.at.Load(), v.Answer.GetGeneration()))
	}
	watch := time.AfterFunc(c.svc.cfg.SignalPatience, func() { c.abort(errSignalStalled) })
	defer watch.Stop()
	return c.stream.Send(m)
}

// legLine is what one leg hears of the caller, and says to it. One goroutine receives and one sends.
type legLine struct {
	call   *calling
	ctx    context.Context // the leg's
	opened bool
}

// Recv implements line.
func (l *legLine) Recv() (*penstockv1.SignalRequest, error) {
	c := l.call
	if !l.opened {
		l.opened = true
		open := proto.CloneOf(c.open)
		open.GetOpen().Generation = max(open.GetOpen().GetGeneration(), c.at.Load())
		return open, nil
	}
	select {
	case c.slots <- struct{}{}:
	case <-l.ctx.Done():
		return nil, context.Cause(l.ctx)
	}
	select {
	case r, ok := <-c.in:
		if !ok {
			<-c.slots
			return nil, c.last
		}
		c.unanswered.add(r.GetRequestId())
		return r, nil
	case <-l.ctx.Done():
		<-c.slots
		return nil, context.Cause(l.ctx)
	}
}

// Send implements line.
func (l *legLine) Send(m *penstockv1.SignalResponse) error { return l.call.deliver(m) }

// isReply tells whether a message replies to a request, and is not the gateway's own.
func isReply(m *penstockv1.SignalResponse) bool {
	switch m.GetMessage().(type) {
	case *penstockv1.SignalResponse_Answer, *penstockv1.SignalResponse_Dropped, *penstockv1.SignalResponse_CandidateResult,
		*penstockv1.SignalResponse_EventsResult, *penstockv1.SignalResponse_Error, *penstockv1.SignalResponse_IceServersResult:
		return true
	}
	return false
}

// unanswered are the ids of requests without a reply, in the order of the requests; a caller may give one id twice. Its methods are safe for
// concurrent use.
type unanswered struct {
	mu  sync.Mutex
	ids []uint64
}

// add adds one.
func (u *unanswered) add(id uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ids = append(u.ids, id)
}

// remove takes one out, and tells whether it was there.
func (u *unanswered) remove(id uint64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	i := slices.Index(u.ids, id)
	if i < 0 {
		return false
	}
	u.ids = slices.Delete(u.ids, i, i+1)
	return true
}

// all returns what is there.
func (u *unanswered) all() []uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.ids)
}
