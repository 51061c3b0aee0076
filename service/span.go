package service

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// The names of the package's spans; docs/tracing.md tells of each. Those of unary calls are gRPC's names of methods.
const (
	spanStreamTrack  = "StreamTrack.open"
	spanWatchTracks  = "WatchTracks.open"
	spanSignal       = "Signal.open"
	spanSignalDo     = "Signal.request"
	spanStreamEvent  = "StreamTrack.event"
	spanLocate       = "service.locate"
	spanForward      = "service.forward"
	spanResolve      = "service.resolve"
	spanAttach       = "service.attach"
	spanKeyFrame     = "media.key_frame_request"
	spanFirstPacket  = "media.first_packet"
	spanFirstFrame   = "media.first_decoded_frame"
	spanFirstMessage = "service.first_message"
	spanTakeOver     = "service.take_over"
	spanHandOver     = "service.hand_over"
	spanDrain        = "service.drain"
)

// The names of attributes of spans and their events.
const (
	attrSession    = attribute.Key("penstock.session")
	attrTrack      = attribute.Key("penstock.track")
	attrPod        = attribute.Key("penstock.pod")
	attrEpoch      = attribute.Key("penstock.epoch")
	attrReason     = attribute.Key("penstock.reason")
	attrMethod     = attribute.Key("rpc.method")
	attrCode       = attribute.Key("rpc.grpc.status_code")
	attrOverdue    = attribute.Key("penstock.overdue")
	attrWaited     = attribute.Key("penstock.waited_ms")
	attrKept       = attribute.Key("penstock.kept_ms")
	attrEncoded    = attribute.Key("penstock.encoded")
	attrLeftOut    = attribute.Key("penstock.left_out")
	attrRequest    = attribute.Key("penstock.request")
	attrFrames     = attribute.Key("penstock.frames")
	attrMS         = attribute.Key("penstock.ms")
	attrGeneration = attribute.Key("penstock.generation")
)

// defaultSpanLimit is how long a span may last. What takes longer is to be seen while it lasts: its span ends, and says so.
const defaultSpanLimit = 10 * time.Second

// shortSpan is a span that ends by itself at the limit, with an event that says so. What it tells of then has a second span, of no length, when
// it is over. A nil one tells nothing. It is safe for concurrent use.
type shortSpan struct {
	tracer trace.Tracer
	parent context.Context // of the second span
	name   string
	began  time.Time

	mu      sync.Mutex
	span    trace.Span
	ended   bool // for whoever ends it
	overdue bool // it has ended by itself
	timer   *time.Timer
}

// short starts a span as a child of ctx's, unless the call that ctx is of has as many as it may have.
func (s *Service) short(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, *shortSpan) {
	if !openingOf(ctx).another() {
		return ctx, nil
	}
	return newShortSpan(ctx, s.tracer, s.cfg.spanLimit, name, opts...)
}

func newShortSpan(ctx context.Context, tracer trace.Tracer, limit time.Duration, name string, opts ...trace.SpanStartOption) (context.Context, *shortSpan) {
	out, span := tracer.Start(ctx, name, opts...)
	if !span.IsRecording() {
		return out, nil // its children are not recorded either
	}
	s := &shortSpan{tracer: tracer, parent: ctx, name: name, began: time.Now(), span: span}
	if above := trace.SpanContextFromContext(ctx); above.IsRemote() || above.TraceID() != span.SpanContext().TraceID() {
		s.parent = out // A second span of that parent, or of none, would be a trace of its own, or not be kept.
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(limit, s.expire)
	return out, s
}

// expire ends it in the midst of what it tells of.
func (s *shortSpan) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.overdue = true
	s.span.AddEvent("still under way")
	s.span.SetAttributes(attrOverdue.Bool(true))
	s.span.End()
}

// set adds attributes.
func (s *shortSpan) set(attributes ...attribute.KeyValue) {
	if s != nil {
		s.span.SetAttributes(attributes...) // of one that has ended: nothing
	}
}

// event adds an event, and reports false where it is too late for that.
func (s *shortSpan) event(name string, attributes ...attribute.KeyValue) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.overdue {
		return false
	}
	s.span.AddEvent(name, trace.WithAttributes(attributes...))
	return true
}

// end ends it, with the error if there is one. It is idempotent: the first time counts.
func (s *shortSpan) end(err error) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	s.timer.Stop()
	if !s.overdue {
		endSpan(s.span, err)
		return
	}
	_, late := s.tracer.Start(s.parent, s.name, trace.WithLinks(trace.Link{SpanContext: s.span.SpanContext()}),
		trace.WithAttributes(attrWaited.Int64(time.Since(s.began).Milliseconds())))
	endSpan(late, err)
}

// endSpan ends a span, with the error if there is one.
func endSpan(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
		if reason := reasonOf(err); reason != 0 {
			span.SetAttributes(attrReason.String(reason.String()))
		}
	}
	span.End()
}
