package service

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// relay holds a conversation with a session of another pod. One goroutine takes requests there, one takes what comes back, and one waits for the
// session to have another owner; the calling's own goroutine sends.
func (c *calling) relay(ctx context.Context, p place) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel(nil)
	to := relay.Pod{Incarnation: p.pod.Incarnation, Address: p.pod.Address}
	hop, span := c.svc.hop(ctx, to, penstockv1.SessionService_Signal_FullMethodName)
	defer func() { span.end(err) }()
	there, err := c.svc.pods.Open(relay.WithSince(hop, c.since, c.begun), to, penstockv1.SessionService_Signal_FullMethodName, c.svc.callerOf(ctx),
		&grpc.StreamDesc{ServerStreams: true, ClientStreams: true})
	if err != nil {
		return err
	}
	defer there.Close()
	came := make(chan *penstockv1.SignalResponse)
	var ended error
	work.Go(func() { sendOn(&legLine{call: c, ctx: ctx}, there, cancel) })
	work.Go(func() {
		defer close(came)
		ended = takeBack(ctx, there, came, span)
	})
	work.Go(func() { c.svc.untilMoved(ctx, p.fence, c.key(), cancel) })
	if err := c.pass(ctx, came); !errors.Is(err, errLegEnded) {
		return err
	}
	return ended // written before came was closed
}

// sendOn takes what the caller sends to the owner, until there is no more.
func sendOn(l *legLine, there *relay.Stream, end context.CancelCauseFunc) {
	for {
		r, err := l.Recv()
		switch {
		case errors.Is(err, io.EOF):
			_ = there.CloseSend() // what is wrong with it, takeBack learns
			return
		case err != nil:
			end(err)
			return
		}
		if there.Send(r) != nil { // takeBack learns why
			return
		}
	}
}

// takeBack hands over what comes from the owner, until that ends it; the hop's span ends with the first. It returns nil for an end with OK.
func takeBack(ctx context.Context, there *relay.Stream, came chan<- *penstockv1.SignalResponse, hop *shortSpan) error {
	for {
		m, err := there.Recv()
		hop.end(err)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		}
		r := &penstockv1.SignalResponse{}
		err = m.Decode(r)
		m.Free()
		if err != nil {
			return err
		}
		select {
		case came <- r:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// pass sends what comes to the caller, and what this pod has to say. It returns errLegEnded when nothing comes any more.
func (c *calling) pass(ctx context.Context, came <-chan *penstockv1.SignalResponse) error {
	for {
		var m *penstockv1.SignalResponse
		var draining <-chan struct{}
		if c.begun && !c.goingTo {
			draining = c.svc.drain.begin.Done()
		}
		var ending <-chan struct{}
		if c.begun && !c.warned {
			ending = expiring(ctx)
		}
		select {
		case next, ok := <-came:
			if !ok {
				return errLegEnded
			}
			m = next
		case <-draining:
			m = protoGoingAway(c.svc.drain.left())
		case <-ending:
			left, _ := expiresIn(ctx)
			m = protoExpiring(left)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := c.deliver(m); err != nil {
			return err
		}
	}
}
