package service

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// recorded keeps spans as they end.
type recorded struct {
	*tracetest.SpanRecorder
	provider *sdktrace.TracerProvider
}

// recordSpans returns what keeps spans, and what has a gateway give them to it.
func recordSpans(t *testing.T) (*recorded, func(*Config)) {
	t.Helper()
	r := &recorded{SpanRecorder: tracetest.NewSpanRecorder()}
	r.provider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.SpanRecorder))
	t.Cleanup(func() { must(t, r.provider.Shutdown(context.Background())) })
	return r, func(c *Config) { c.TracerProvider = r.provider }
}

// named returns the spans of a name that have ended, in that order.
func (r *recorded) named(name string) (found []sdktrace.ReadOnlySpan) {
	for _, s := range r.Ended() {
		if s.Name() == name {
			found = append(found, s)
		}
	}
	return found
}

// await waits until so many spans of a name have ended, and returns them.
func (r *recorded) await(ctx context.Context, t *testing.T, name string, n int) []sdktrace.ReadOnlySpan {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if found := r.named(name); len(found) >= n {
			return found
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d spans %s never came; there are %v", n, name, r.names())
		}
	}
}

func (r *recorded) names() (names []string) {
	for _, s := range r.Ended() {
		names = append(names, s.Name())
	}
	return names
}

// attributeOf is the value of an attribute, or an empty one.
func attributeOf(list []attribute.KeyValue, key attribute.Key) attribute.Value {
	set := attribute.NewSet(list...)
	v, _ := set.Value(key)
	return v
}

// eventOf finds an event of a span.
func eventOf(s sdktrace.ReadOnlySpan, name string) (sdktrace.Event, bool) {
	for _, e := range s.Events() {
		if e.Name == name {
			return e, true
		}
	}
	return sdktrace.Event{}, false
}

// TestO1_WhatLastsIsSeenWhileItLasts opens a stream of a track that nobody publishes: what it waits for is seen while it waits. Then it is published, and the rest of the story is
// told under the same span.
func TestO1_WhatLastsIsSeenWhileItLasts(t *testing.T) {
	spans, record := recordSpans(t)
	g := startGateway(t, record, func(c *Config) { c.spanLimit = 50 * time.Millisecond })
	g.create("call")
	r := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera)})
	open, resolve := spans.await(g.ctx, t, spanStreamTrack, 1)[0], spans.await(g.ctx, t, spanResolve, 1)[0]
	for _, s := range []sdktrace.ReadOnlySpan{open, resolve} {
		if _, ok := eventOf(s, "still under way"); !ok || !attributeOf(s.Attributes(), attrOverdue).AsBool() {
			t.Errorf("%s does not say that it is not over: %v", s.Name(), s.Events())
		}
	}
	sfu := g.sfu("call", sfutest.MSIDStream)
	must(t, sfu.Publish(g.ctx, newTrack(t, sfu, "alice", camera, clips.AliceCamera())))
	r.video()
	late := spans.await(g.ctx, t, spanResolve, 2)[1]
	if late.Parent().SpanID() != open.SpanContext().SpanID() || len(late.Links()) != 1 || !late.Links()[0].SpanContext.Equal(resolve.SpanContext()) ||
		attributeOf(late.Attributes(), attrWaited).AsInt64() < 50 {
		t.Errorf("the end of the wait has the parent %v, the links %v, %v", late.Parent(), late.Links(), late.Attributes())
	}
	late = spans.await(g.ctx, t, spanStreamTrack, 2)[1]
	if late.Parent().SpanID() != open.SpanContext().SpanID() || len(late.Links()) != 1 || !late.Links()[0].SpanContext.Equal(open.SpanContext()) {
		t.Errorf("the end of the opening, which has no parent, has the parent %v, the links %v", late.Parent(), late.Links())
	}
	sent := spans.await(g.ctx, t, spanFirstMessage, 1)[0]
	if sent.Parent().SpanID() != open.SpanContext().SpanID() {
		t.Errorf("the first message is told under %v", sent.Parent())
	}
	for _, s := range spans.Ended() { // a timer may be late
		if s.EndTime().Sub(s.StartTime()) > hang/2 {
			t.Errorf("%s lasts %v", s.Name(), s.EndTime().Sub(s.StartTime()))
		}
	}
}

// once keeps one trace that callers say is kept.
type once struct {
	sdktrace.Sampler
	taken bool
}

// ShouldSample implements sdktrace.Sampler.
func (s *once) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if s.taken {
		return sdktrace.NeverSample().ShouldSample(p)
	}
	s.taken = true
	return s.Sampler.ShouldSample(p)
}

// TestO1_SecondSpansAreOfTheSameTrace has spans that last too long: one without a parent, one whose parent is the caller's, of whom no more traces are kept, and one that begins a trace of
// its own. What tells of their ends is in their traces.
func TestO1_SecondSpansAreOfTheSameTrace(t *testing.T) {
	remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: [16]byte{1}, SpanID: [8]byte{1}, TraceFlags: trace.FlagsSampled, Remote: true})
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			within trace.SpanContext
			opts   []trace.SpanStartOption
		}{
			"no parent": {}, "the caller's": {within: remote}, "a root": {within: remote.WithRemote(false), opts: []trace.SpanStartOption{trace.WithNewRoot()}},
		} {
			spans := tracetest.NewSpanRecorder()
			provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans), sdktrace.WithSampler(sdktrace.ParentBased(
				&once{Sampler: sdktrace.AlwaysSample()}, sdktrace.WithRemoteParentSampled(&once{Sampler: sdktrace.AlwaysSample()}))))
			_, span := newShortSpan(trace.ContextWithSpanContext(t.Context(), c.within), provider.Tracer("test"), time.Second, "wait", c.opts...)
			time.Sleep(time.Minute)
			span.end(nil)
			ended := spans.Ended()
			if len(ended) != 2 || ended[1].SpanContext().TraceID() != ended[0].SpanContext().TraceID() || len(ended[1].Links()) != 1 {
				t.Errorf("%s: %v", name, ended)
			}
		}
	})
}

// TestO1_SpansOfOneCallAreBounded lets a call wait for more and more, and more and more happen to it, for an hour: spans are few, and say what was left out.
func TestO1_SpansOfOneCallAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans, _ := recordSpans(t)
		s := &Service{tracer: spans.provider.Tracer("test"), cfg: Config{spanLimit: defaultSpanLimit}}
		ctx, o := s.startOpening(t.Context(), spanStreamTrack)
		o.event("gap")
		for range 1000 {
			_, span := s.short(ctx, spanResolve)
			span.end(nil)
		}
		o.opened()
		o.opened()
		for range 3600 * 4 {
			o.event("gap")
			time.Sleep(time.Second / 4)
		}
		o.ended(errors.New("cut"))
		if n := len(spans.named(spanResolve)); n != maxCallSpans {
			t.Errorf("of 1000 waits there are %d spans, want %d", n, maxCallSpans)
		}
		open := spans.named(spanStreamTrack)
		if len(open) != 1 || len(open[0].Events()) != 1 || open[0].Status().Code == otelcodes.Error {
			t.Errorf("the opening is %v", open)
		}
		later := spans.named(spanStreamEvent)
		if len(later) != maxCallEvents+1 {
			t.Fatalf("of an hour there are %d events, want %d and the end", len(later), maxCallEvents)
		}
		told := int64(0)
		for i, span := range later {
			if span.Parent().SpanID() != open[0].SpanContext().SpanID() || span.EndTime().Sub(span.StartTime()) > time.Second {
				t.Errorf("event %d has the parent %v and lasts %v", i, span.Parent(), span.EndTime().Sub(span.StartTime()))
			}
			told += 1 + attributeOf(span.Events()[0].Attributes, attrLeftOut).AsInt64()
		}
		last := later[len(later)-1]
		if e, ok := eventOf(last, "ended"); !ok || last.Status().Code != otelcodes.Error || attributeOf(e.Attributes, attrCode).AsInt64() != int64(codes.Unknown) {
			t.Errorf("the end is told by %v, %v", last.Events(), last.Status())
		}
		if told != 3600*4+1 {
			t.Errorf("all events tell of %d, want %d", told, 3600*4+1)
		}
	})
}

// TestO1_NothingIsMadeOfWhatIsNotKept has a stream whose trace the caller does not keep.
func TestO1_NothingIsMadeOfWhatIsNotKept(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())))
	g := startGateway(t, func(c *Config) { c.TracerProvider = provider })
	g.call("call")
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(g.ctx, "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"))
	defer cancel()
	s, err := g.tracks.StreamTrack(ctx, &penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera)})
	must(t, err)
	r := &reader{t, s, cancel}
	r.video()
	r.video()
	for _, s := range spans.Started() {
		if s.SpanContext().TraceID().String() == "4bf92f3577b34da6a3ce929d0e0e4736" {
			t.Errorf("there is the span %s", s.Name())
		}
	}
	must(t, provider.Shutdown(context.Background()))
}

// TestO1_RefusalsAreTold opens streams that are refused, by an interceptor and by the handler: the span of the opening says why.
func TestO1_RefusalsAreTold(t *testing.T) {
	spans, record := recordSpans(t)
	g := startGateway(t, record)
	for i, c := range []struct {
		request *penstockv1.StreamTrackRequest
		code    codes.Code
		reason  string
	}{
		{&penstockv1.StreamTrackRequest{SessionId: "call"}, codes.InvalidArgument, "ERROR_REASON_INVALID_FIELD"},
		{&penstockv1.StreamTrackRequest{SessionId: "none", Selector: byParticipant("alice", camera)}, codes.NotFound, "ERROR_REASON_SESSION_NOT_FOUND"},
	} {
		_ = g.open(c.request).end()
		span := spans.await(g.ctx, t, spanStreamTrack, i+1)[i]
		e, ok := eventOf(span, "ended")
		if !ok || span.Status().Code != otelcodes.Error || attributeOf(e.Attributes, attrCode).AsInt64() != int64(c.code) || attributeOf(e.Attributes, attrReason).AsString() != c.reason {
			t.Errorf("the opening says %v, %v; want %v %s", span.Events(), span.Status(), c.code, c.reason)
		}
	}
}

// TestO1_RequestsOverSignalAreTraces sends an offer and events over a conversation: each is a trace of its own, with a link to the conversation's opening, which has ended meanwhile. A picture that is asked for
// afterwards tells what it waited for.
func TestO1_RequestsOverSignalAreTraces(t *testing.T) {
	spans, record := recordSpans(t)
	g := startGateway(t, record)
	g.create("call")
	k := g.talker("call")
	k.open(0)
	open := spans.await(g.ctx, t, spanSignal, 1)[0]
	sfu := k.newSFU(sfutest.Config{})
	must(t, sfu.Publish(g.ctx, newTrack(t, sfu, "alice", camera, clips.AliceCamera())))
	requests := spans.await(g.ctx, t, spanSignalDo, 2)
	var kinds []string
	for _, s := range requests {
		kinds = append(kinds, attributeOf(s.Attributes(), attrRequest).AsString())
		if s.Parent().IsValid() || s.SpanContext().TraceID() == open.SpanContext().TraceID() ||
			!slices.ContainsFunc(s.Links(), func(l sdktrace.Link) bool { return l.SpanContext.SpanID() == open.SpanContext().SpanID() }) {
			t.Errorf("the request %v has the parent %v and the links %v", s.Attributes(), s.Parent(), s.Links())
		}
	}
	if !slices.Contains(kinds, "offer") || !slices.Contains(kinds, "events") {
		t.Errorf("the requests are %v", kinds)
	}
	_, err := g.tracks.ResolveTrack(g.ctx, &penstockv1.ResolveTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera)})
	must(t, err)
	_, err = g.tracks.GetFrame(g.ctx, &penstockv1.GetFrameRequest{SessionId: "call", Selector: byParticipant("alice", camera)})
	must(t, err)
	call := spans.await(g.ctx, t, "penstock.v1.TrackService/GetFrame", 1)[0]
	for _, name := range []string{spanResolve, spanAttach, spanFirstPacket, spanFirstFrame} {
		if !slices.ContainsFunc(spans.named(name), func(s sdktrace.ReadOnlySpan) bool { return s.Parent().SpanID() == call.SpanContext().SpanID() }) {
			t.Errorf("GetFrame has no span %s", name)
		}
	}
}
