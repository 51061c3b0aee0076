package service

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/status"
)

const (
	// maxCallSpans is how many spans one long call may have of what it waits for, however often its media and its owners change.
	maxCallSpans = 64
	// maxCallEvents is how many it may have of what happens later, no two within callEventSpacing.
	maxCallEvents    = 32
	callEventSpacing = time.Second
)

// opening is what is told of a long call in a trace: the short span of its opening, from the call to its first message, and, as children of it, short spans of what it
// waits for and of what happens later. A span as long as the call would be seen only after its end. A nil one tells nothing. It
// is safe for concurrent use.
type opening struct {
	svc  *Service
	ctx  context.Context // with the span
	span *shortSpan      // nil where the trace is not kept

	mu      sync.Mutex
	spans   int // made of those that it waits for
	events  int // made of those that happened later
	last    time.Time
	leftOut int // since the last
}

// openingKey is the context key of an *opening.
type openingKey struct{}

// openingOf returns the opening of the long call that a context is of, or nil.
func openingOf(ctx context.Context) *opening {
	o, _ := ctx.Value(openingKey{}).(*opening)
	return o
}

// withoutOpening returns a context whose spans are not those of a long call, and not counted with them.
func withoutOpening(ctx context.Context) context.Context {
	return context.WithValue(ctx, openingKey{}, (*opening)(nil))
}

// startOpening starts the span of a long call's opening, as a child of the caller's. It and its span are in the context that it returns, also after the span has ended.
func (s *Service) startOpening(ctx context.Context, name string) (context.Context, *opening) {
	o := &opening{svc: s}
	ctx, o.span = newShortSpan(ctx, s.tracer, s.cfg.spanLimit, name, trace.WithSpanKind(trace.SpanKindServer))
	o.ctx = context.WithValue(ctx, openingKey{}, o)
	return o.ctx, o
}

// recording tells whether the trace is kept.
func (o *opening) recording() bool { return o != nil && o.span != nil }

// describe adds attributes to the opening.
func (o *opening) describe(attributes ...attribute.KeyValue) {
	if o.recording() {
		o.span.set(attributes...)
	}
}

// opened takes note of the first message. It is idempotent.
func (o *opening) opened() {
	if o.recording() {
		o.span.end(nil)
	}
}

// another tells whether there may be one more span of what the call waits for, and counts it.
func (o *opening) another() bool {
	if o == nil {
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.spans >= maxCallSpans {
		return false
	}
	o.spans++
	return true
}

// event tells what happened: as an event of the opening while that lasts, else by a short span of its own, of which there are few. How many
// were left out the next one says.
func (o *opening) event(name string, attributes ...attribute.KeyValue) {
	if !o.recording() || o.span.event(name, attributes...) {
		return
	}
	o.mu.Lock()
	now := time.Now()
	if o.events >= maxCallEvents || now.Sub(o.last) < callEventSpacing {
		o.leftOut++
		o.mu.Unlock()
		return
	}
	o.events++
	o.last = now
	attributes = o.withLeftOut(attributes)
	o.mu.Unlock()
	_, span := o.svc.tracer.Start(o.ctx, spanStreamEvent)
	span.AddEvent(name, trace.WithAttributes(attributes...))
	span.End()
}

// withLeftOut adds how many events were left out. Called with o.mu.
func (o *opening) withLeftOut(attributes []attribute.KeyValue) []attribute.KeyValue {
	if o.leftOut > 0 {
		attributes = append(attributes, attrLeftOut.Int(o.leftOut))
		o.leftOut = 0
	}
	return attributes
}

// ended tells how the call ended: of one that never opened the opening does, of another a span of its own.
func (o *opening) ended(err error) {
	if !o.recording() {
		return
	}
	attributes := []attribute.KeyValue{attrCode.Int64(int64(status.Code(err)))}
	if reason := reasonOf(err); reason != 0 {
		attributes = append(attributes, attrReason.String(reason.String()))
	}
	if o.span.event("ended", attributes...) {
		o.span.end(err)
		return
	}
	o.mu.Lock()
	attributes = o.withLeftOut(attributes)
	o.mu.Unlock()
	_, span := o.svc.tracer.Start(o.ctx, spanStreamEvent)
	span.AddEvent("ended", trace.WithAttributes(attributes...))
	if err != nil {
		span.SetStatus(codes.Error, status.Convert(err).Message())
	}
	span.End()
	o.span.end(err)
}
