package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// relayLeg is a leg that is relayed from the pod that has the session. One goroutine receives, one message ahead of what the worker takes; another one waits
// for the session to have another owner. The followed's own goroutine sends.
type relayLeg struct {
	call   *followed
	from   *relay.Stream
	epoch  uint64              // the owner's
	came   chan *relay.Message // unbuffered: what the worker does not take stays at the owner
	rate   uint32              // of samples, by the last header
	span   *shortSpan          // of the hop, until the owner has accepted the stream
	begun  bool                // a frame was passed on
	head   [peekSize]byte
	expiry *time.Timer // ends a send that takes too long

	accepted chan struct{} // closed when the owner serves it, though it may not have anything to send yet
}

// relay serves a leg from the pod that has the session.
func (f *followed) relay(ctx context.Context, p place) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel(nil)
	to := relay.Pod{Incarnation: p.pod.Incarnation, Address: p.pod.Address}
	hop, span := f.svc.hop(ctx, to, penstockv1.TrackService_StreamTrack_FullMethodName)
	defer func() { span.end(err) }()
	from, err := f.svc.pods.Open(hop, to, penstockv1.TrackService_StreamTrack_FullMethodName, f.svc.callerOf(ctx), &grpc.StreamDesc{ServerStreams: true})
	if err != nil {
		return err
	}
	defer from.Close()
	if err := from.Send(f.onward()); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := from.CloseSend(); err != nil {
		return err
	}
	l := &relayLeg{call: f, from: from, span: span, epoch: p.fence.Epoch, came: make(chan *relay.Message), accepted: make(chan struct{})}
	// The owner's rule comes first: nothing that the worker does not take is taken from the owner, whose queue overflows. This is for a worker
	// that never learns of that, since it never reads again.
	l.expiry = time.AfterFunc(time.Hour, func() { f.abort(media.ErrStalled) })
	l.expiry.Stop()
	defer l.expiry.Stop()
	var ended error
	work.Go(func() {
		defer close(l.came)
		ended = l.receive(ctx)
	})
	work.Go(func() { f.svc.untilMoved(ctx, p.fence, f.key(), cancel) })
	err = l.pass(ctx)
	if errors.Is(err, errLegEnded) {
		return ended // written before came was closed
	}
	return err
}

// onward returns the request for the owner: the worker's own until it got something, and from there on.
func (f *followed) onward() *penstockv1.StreamTrackRequest {
	r := proto.CloneOf(f.req)
	if f.at != nil {
		f.svc.resuming(r, f.key(), *f.at)
	}
	return r
}

// errLegEnded means that the owner has ended a leg.
var errLegEnded = errors.New("service: the owner has ended its part of a stream")

// receive hands over what comes, until the owner ends it. It returns nil for an end with OK.
func (l *relayLeg) receive(ctx context.Context) error {
	if md, err := l.from.Header(); err == nil && md != nil {
		close(l.accepted)
	}
	for {
		m, err := l.from.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		}
		select {
		case l.came <- m:
		case <-ctx.Done():
			m.Free()
			return context.Cause(ctx)
		}
	}
}

// pass sends what comes to the worker, and what this pod has to say. It returns errLegEnded when nothing comes any more.
func (l *relayLeg) pass(ctx context.Context) error {
	draining, expiring, accepted := l.call.svc.drain.begin.Done(), expiring(ctx), l.accepted
	for {
		select {
		case <-accepted:
			accepted = nil
			l.span.end(nil)
			if err := l.call.accept(); err != nil {
				return err
			}
		case m, ok := <-l.came:
			if !ok {
				return errLegEnded
			}
			if err := l.message(ctx, m); err != nil {
				return err
			}
		case <-draining:
			draining = nil
		case <-expiring:
			expiring = nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if at := l.call.at; at != nil {
			if err := l.call.tellDrain(at.at); err != nil {
				return err
			}
			if err := l.call.tellExpiry(at.at); err != nil {
				return err
			}
		}
	}
}

// message passes one message on, as it is, unless it is a frame of an owner before the last one.
func (l *relayLeg) message(ctx context.Context, m *relay.Message) error {
	defer m.Free()
	p := peek(l.head[:m.Head(l.head[:])])
	f := l.call
	f.served()
	l.span.end(nil)
	if p.frame() && (f.at == nil || p.epoch < f.at.epoch) || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var header *penstockv1.StreamHeader
	if p.field == streamHeaderField {
		var response penstockv1.StreamTrackResponse
		if err := m.Decode(&response); err != nil {
			return fmt.Errorf("header of %q: %w", f.req.GetSessionId(), err)
		}
		if err := f.unopened.header(); err != nil {
			return err
		}
		header = response.GetHeader()
	}
	l.expiry.Reset(2 * f.svc.cfg.StallTimeout)
	since := l.since(p)
	err := f.out.SendMsg(m)
	l.expiry.Stop()
	switch {
	case err != nil:
		return err
	case header != nil:
		l.rate = samplesPerSecond(header)
		f.began(time.Unix(0, header.GetStartTimeUnixNs()), l.epoch)
	case p.frame():
		f.got(p.epoch, p.sequence, p.presented+l.length(p))
		if !since.IsZero() {
			stages{svc: f.svc, ctx: ctx}.add(spanFirstMessage, since, time.Now())
			f.open.opened()
		}
	}
	return nil
}

// since returns when the sending of the leg's first frame begins; zero for what is no such.
func (l *relayLeg) since(p peeked) time.Time {
	if l.begun || !p.frame() {
		return time.Time{}
	}
	l.begun = true
	return time.Now()
}

// length returns how long a frame lasts; 0 for a picture.
func (l *relayLeg) length(p peeked) time.Duration {
	if l.rate == 0 || p.samples > uint64(l.rate)*60 {
		return 0
	}
	return time.Duration(p.samples) * time.Second / time.Duration(l.rate)
}

// untilMoved ends what is relayed from the owner of a fence when another one owns the session, and soon after the session has ended if that was not told. It returns
// when ctx ends.
func (s *Service) untilMoved(ctx context.Context, from resolverstore.Fence, session resolverstore.SessionKey, end context.CancelCauseFunc) {
	var pause backoff
	for {
		now, err := s.cfg.Store.Owner(ctx, session, from)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, resolverstore.ErrSessionNotFound), err == nil && now.Session.State == resolverstore.SessionEnded:
			timer := time.AfterFunc(endTimeout, func() { end(resolverstore.ErrSessionEnded) })
			<-ctx.Done()
			timer.Stop()
			return
		case err == nil && now.Session.Fence != from:
			end(errMoved)
			return
		}
		if pause.wait(ctx) != nil { // The store is away: the owner is asked as long as it answers.
			return
		}
	}
}
