package service

import (
	"context"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"
)

// openSpan is the short span of a stream's opening: from the call to its first message. A span as long as the stream
// would be seen only after its end.
type openSpan struct {
	span  trace.Span
	ended bool
}

// openSpan starts the span of a call, as a child of the caller's.
func (s *Service) openSpan(ctx context.Context, call string) *openSpan {
	if s.cfg.TracerProvider == nil {
		return &openSpan{ended: true}
	}
	md, _ := metadata.FromIncomingContext(ctx)
	parent := s.cfg.Propagator.Extract(ctx, metadataCarrier(md))
	_, span := s.tracer.Start(parent, call+".open", trace.WithSpanKind(trace.SpanKindServer))
	return &openSpan{span: span}
}

// context returns ctx with the span in it while that lasts.
func (o *openSpan) context(ctx context.Context) context.Context {
	if o.ended {
		return ctx
	}
	return trace.ContextWithSpan(ctx, o.span)
}

// end ends the span. It is idempotent.
func (o *openSpan) end(err error) {
	if o.ended {
		return
	}
	o.ended = true
	endSpan(o.span, err)
}

// metadataCarrier reads a call's metadata for a propagator.
type metadataCarrier metadata.MD

// Get implements propagation.TextMapCarrier.
func (c metadataCarrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (c metadataCarrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

// Keys implements propagation.TextMapCarrier.
func (c metadataCarrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}
