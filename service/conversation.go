package service

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/time/rate"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// laneDepth is how many requests of one kind may wait in a conversation before it reads no further.
const laneDepth = 16

// conversation is what is said over a Signal stream about a session that is here. One goroutine receives, one sends, and each kind of request has a
// lane, in which requests are done one after another; whoever waits for its end does only that, so that a caller that does not read
// cannot hold it up.
type conversation struct {
	svc    *Service
	line   line
	ctx    context.Context
	cancel context.CancelCauseFunc
	out    *outbox
	sent   chan struct{} // closed when the sender has ended
	live   *session

	since     time.Time // when the caller opened it, at whichever pod and with whichever owner
	again     bool      // it was opened with an owner before
	forwarded bool      // another pod holds the caller's stream

	rate       *rate.Limiter // of its requests
	generation uint64        // of the caller's last offer; the receiver's
	offers     lane          // and ICE servers, which are for the offers after them
	candidates lane
	events     lane

	mu       sync.Mutex
	attached *session
	offering int                          // offers of this conversation that are not answered
	held     []*penstockv1.SignalResponse // candidates until then
	subjects []subject                    // of held
	finished bool
	verdict  error // how a finished conversation ends
}

// newConversation returns a conversation that has not begun. Its context ends with parent's.
func newConversation(parent context.Context, svc *Service, live *session) *conversation {
	ctx, cancel := context.WithCancelCause(parent)
	c := &conversation{
		svc: svc, live: live, ctx: ctx, cancel: cancel, out: newOutbox(), sent: make(chan struct{}), since: time.Now(),
		rate: signalRate(svc.cfg.Limits),
	}
	for _, l := range []*lane{&c.offers, &c.candidates, &c.events} {
		l.work = make(chan func(), laneDepth)
	}
	return c
}

// wait returns how the conversation ended.
func (c *conversation) wait() error {
	select {
	case <-c.sent:
	case <-c.ctx.Done():
	}
	err := context.Cause(c.ctx)
	c.cancel(context.Canceled)
	c.detach()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.verdict
}

// abort ends the conversation at once.
func (c *conversation) abort(err error) { c.cancel(err) }

// finish ends the conversation when all that is in the outbox is sent. The first call counts.
func (c *conversation) finish(err error) {
	c.mu.Lock()
	if !c.finished {
		c.finished, c.verdict = true, err
	}
	c.mu.Unlock()
	c.out.close()
}

// detach leaves the session.
func (c *conversation) detach() {
	c.mu.Lock()
	v := c.attached
	c.attached = nil
	c.mu.Unlock()
	if v != nil && v.hub.detach(c) {
		v.signalling()
	}
}

// send sends until the outbox is closed and empty, or the conversation ends. Nobody else sends.
func (c *conversation) send() {
	defer close(c.sent)
	for {
		m, ok := c.out.next(c.ctx)
		if !ok {
			return
		}
		if err := c.line.Send(m); err != nil {
			c.abort(err)
			return
		}
	}
}

// receive takes requests until the caller has no more or the conversation ends.
func (c *conversation) receive() {
	var working sync.WaitGroup
	err := c.requests(&working)
	for _, l := range []*lane{&c.offers, &c.candidates, &c.events} {
		close(l.work)
	}
	working.Wait()
	switch {
	case c.ctx.Err() != nil:
	case errors.Is(err, io.EOF):
		c.finish(nil)
	default:
		c.finish(err)
	}
}

// requests takes the first request, which must be open, and all that follow.
func (c *conversation) requests(working *sync.WaitGroup) (err error) {
	defer c.recovered(func(failed error) { err = failed })
	first, err := c.line.Recv()
	if err != nil {
		return err
	}
	if err := c.open(first); err != nil {
		return err
	}
	if !c.forwarded { // The caller's own pod goes on.
		defer context.AfterFunc(c.svc.drain.begin, func() {
			c.out.put(subject{kind: aboutDrain}, protoGoingAway(c.svc.drain.left()))
		})()
	}
	defer whenExpiring(c.ctx, func() {
		if left, soon := expiresIn(c.ctx); soon {
			c.out.put(subject{kind: aboutExpiry}, protoExpiring(left))
		}
	})()
	for {
		r, err := c.line.Recv()
		if err != nil {
			return err
		}
		if r.GetOpen() != nil {
			return invalid("open", "was sent already; it must be the first message and no other")
		}
		l, work := c.request(r)
		id := r.GetRequestId()
		guarded := func() {
			defer c.recovered(func(failed error) { c.reply(&penstockv1.SignalRequest{RequestId: id}, protoError(failed)) })
			work()
		}
		if !l.do(c.ctx, working, guarded) {
			return context.Cause(c.ctx)
		}
	}
}

// recovered, when deferred, turns a panic into an internal error, and logs it with its stack. The interceptor cannot: it sees the handler's
// goroutine only, and a fault of one conversation must never end the process.
func (c *conversation) recovered(failed func(error)) {
	if p := recover(); p != nil {
		failed(c.svc.panicked(c.ctx, "conversation", p))
	}
}

// open takes the session's conversation over.
func (c *conversation) open(r *penstockv1.SignalRequest) error {
	o, v := r.GetOpen(), c.live
	rec, err := c.svc.record(c.ctx, v.key)
	if err != nil {
		return err
	}
	opened := func() {
		c.out.put(subject{kind: aboutOpen}, &penstockv1.SignalResponse{
			RequestId: r.GetRequestId(), Message: &penstockv1.SignalResponse_Opened{Opened: protoSession(rec)},
		})
	}
	if c.ctx.Err() != nil { // It must take nobody's place any more.
		return context.Cause(c.ctx)
	}
	old, ok := v.hub.attach(c, opened, o.GetGeneration())
	switch {
	case !ok && v.hub.newer(c):
		return errSignalReplaced
	case !ok && v.moved.Err() != nil:
		return errMoved
	case !ok:
		return errSessionOver
	}
	if old != nil {
		old.abort(errSignalReplaced)
	}
	v.signalling()
	c.mu.Lock()
	c.attached = v
	c.mu.Unlock()
	if c.ctx.Err() != nil { // It ended before it could know of the session.
		c.detach()
	}
	return nil
}
