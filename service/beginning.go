package service

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/penstock-media/penstock/media"
)

// began tells, by spans made afterwards, what an attachment waited for until its first frame; sent is when that had been sent, or zero.
func (s *Service) began(ctx context.Context, c *media.Consumer, sent time.Time) {
	if !trace.SpanFromContext(ctx).SpanContext().IsSampled() {
		return
	}
	b := c.Beginning()
	audio, video := c.Format()
	st := stages{svc: s, ctx: ctx, encoded: audio == nil && video == nil}
	since := b.Attached
	if !b.KeyFrameAsked.IsZero() && !b.KeyFrameAsked.After(b.FirstFrame) {
		st.add(spanKeyFrame, b.Attached, b.KeyFrameAsked)
		if b.FirstPacket.After(b.KeyFrameAsked) {
			since = b.KeyFrameAsked
		}
	}
	came := b.FirstPacket
	if came.Before(b.Attached) { // it was kept
		kept := attrKept.Int64(b.Attached.Sub(came).Milliseconds())
		came = b.Attached
		st.add(spanFirstPacket, since, came, trace.WithAttributes(kept))
	} else {
		st.add(spanFirstPacket, since, came)
	}
	st.add(spanFirstFrame, came, b.FirstFrame, trace.WithAttributes(attrEncoded.Bool(st.encoded)))
	if !sent.IsZero() {
		st.add(spanFirstMessage, b.FirstFrame, sent)
	}
}

// stages makes spans of what is over.
type stages struct {
	svc     *Service
	ctx     context.Context
	encoded bool
}

// add makes a span. One that would be longer than the limit has no length, and says how long it took: nobody has seen it while it lasted.
func (s stages) add(name string, from, to time.Time, opts ...trace.SpanStartOption) {
	if !openingOf(s.ctx).another() {
		return
	}
	to = latest(from, to)
	if d := to.Sub(from); d > s.svc.cfg.spanLimit {
		from = to
		opts = append(opts, trace.WithAttributes(attrWaited.Int64(d.Milliseconds())))
	}
	_, span := s.svc.tracer.Start(s.ctx, name, append(opts, trace.WithTimestamp(from))...)
	span.End(trace.WithTimestamp(to))
}

// latest returns the later of two times.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// feeds are the streams that run on a session's media, as far as their traces are kept. It is guarded by the session's lock.
type feeds map[*opening]struct{}

// maxFeedLinks bounds the streams that a negotiation's span names.
const maxFeedLinks = 32

// feed takes note of a stream.
func (v *session) feed(o *opening) {
	if !o.recording() {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.feeds == nil {
		v.feeds = make(feeds)
	}
	v.feeds[o] = struct{}{}
}

// unfeed forgets a stream.
func (v *session) unfeed(o *opening) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.feeds, o)
}

// fed returns links to the streams. Called with v.mu.
func (v *session) fed() (links []trace.Link) {
	for o := range v.feeds {
		if len(links) == maxFeedLinks {
			break
		}
		links = append(links, trace.LinkFromContext(o.ctx))
	}
	return links
}
