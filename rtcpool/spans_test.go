package rtcpool

import (
	"context"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
)

// TestO1_NegotiationsAndWhatTheyFeed links media with the negotiations that announced and last confirmed them, and negotiations with the streams that they
// feed. An offer that comes too late is told by an event with its reason.
func TestO1_NegotiationsAndWhatTheyFeed(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	p := newTestPool(t, func(c *Config) { c.Tracer = provider.Tracer("test") })
	s, told := open(t, p, "s")
	mustAnswer(t, s, offertest.Of(offertest.Audio))
	fed := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	r, err := s.Negotiate(context.Background(), Offer{Generation: 2, SDP: offertest.Of(offertest.Audio), Feeds: []trace.Link{{SpanContext: fed}}})
	if err != nil || r.Answer == nil {
		t.Fatal(r, err)
	}
	r, err = s.Negotiate(context.Background(), Offer{Generation: 2, SDP: offertest.Of(offertest.Audio, offertest.Video)})
	if err != nil || r.Answer == nil {
		t.Fatal(r, err)
	}
	if r, err = s.Negotiate(context.Background(), Offer{Generation: 1, SDP: offertest.Of(offertest.Audio)}); err != nil || r.Drop == nil {
		t.Fatal(r, err)
	}
	spans := recorder.Ended()
	if len(spans) != 4 {
		t.Fatalf("4 negotiations have %d spans", len(spans))
	}
	if links := spans[1].Links(); len(links) != 1 || !links[0].SpanContext.Equal(fed) {
		t.Errorf("the links to streams are %v", links)
	}
	if e := spans[3].Events(); len(e) != 1 || e[0].Name != "offer dropped" || len(e[0].Attributes) == 0 || e[0].Attributes[0].Value.AsString() != DropStaleGeneration.String() {
		t.Errorf("the dropped offer has the events %v", e)
	}
	links := func(mid string) (of []trace.SpanContext) {
		told.mu.Lock()
		defer told.mu.Unlock()
		for _, m := range told.added {
			if m.MID == mid && m.Generation == 2 {
				for _, l := range s.Negotiations(m.ID) {
					of = append(of, l.SpanContext)
				}
			}
		}
		return of
	}
	audio, video := links("0"), links("1")
	if len(audio) != 2 || !audio[0].Equal(spans[1].SpanContext()) || !audio[1].Equal(spans[2].SpanContext()) {
		t.Errorf("the audio's negotiations are %v", audio)
	}
	if len(video) != 1 || !video[0].Equal(spans[2].SpanContext()) {
		t.Errorf("the video's negotiations are %v", video)
	}
}
