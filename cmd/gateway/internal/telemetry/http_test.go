package telemetry

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// recording returns telemetry whose spans are kept by a recorder.
func recording(t *testing.T) (*Telemetry, *tracetest.SpanRecorder) {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	tell := &Telemetry{log: slog.New(slog.DiscardHandler), propagator: sealingPropagator{}}
	tell.traces = &traces{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))}
	return tell, recorder
}

// TestO1_RequestsHaveSpans sends requests with and without a trace of their own: each below the path has a span, a child of the caller's, which what serves it is in.
func TestO1_RequestsHaveSpans(t *testing.T) {
	tell, recorder := recording(t)
	var inside []trace.SpanContext // of what serves, request by request
	server := httptest.NewServer(tell.HTTP("WHIP", "/whip/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inside = append(inside, trace.SpanContextFromContext(r.Context()))
		w.WriteHeader(http.StatusServiceUnavailable)
	})))
	defer server.Close()
	ask := func(method, path, traceparent string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if traceparent != "" {
			r.Header.Set("traceparent", traceparent)
		}
		answer, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ask(http.MethodPost, "/whip/s", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	ask("BREW", "/whip/s/secret", "")
	ask(http.MethodOptions, "/whip/s", "")
	ask(http.MethodGet, "/healthz", "")
	spans := recorder.Ended()
	if len(spans) != 2 || spans[0].Name() != "WHIP POST" || spans[1].Name() != "WHIP _OTHER" {
		t.Fatalf("the spans are %v", spans)
	}
	if spans[0].Parent().SpanID().String() != "00f067aa0ba902b7" || spans[0].SpanContext().TraceID().String() != "4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Errorf("the parent is %v", spans[0].Parent())
	}
	if spans[1].Parent().IsValid() {
		t.Errorf("without a caller's trace the parent is %v", spans[1].Parent())
	}
	if len(inside) != 4 || !inside[0].Equal(spans[0].SpanContext()) || !inside[1].Equal(spans[1].SpanContext()) || inside[2].IsValid() || inside[3].IsValid() {
		t.Errorf("requests are served in the spans %v", inside)
	}
	for i, want := range []string{"/whip/s", "/whip/s/..."} {
		set := attribute.NewSet(spans[i].Attributes()...)
		if v, _ := set.Value("url.path"); v.AsString() != want {
			t.Errorf("the path told is %q, want %q", v.AsString(), want)
		}
	}
	set := attribute.NewSet(spans[0].Attributes()...)
	if v, _ := set.Value("http.response.status_code"); v.AsInt64() != http.StatusServiceUnavailable {
		t.Errorf("the attributes are %v", spans[0].Attributes())
	}
}

// TestO2_RecordsNameTheirTrace logs within a span and outside of any.
func TestO2_RecordsNameTheirTrace(t *testing.T) {
	tell, _ := recording(t)
	var out bytes.Buffer
	log := slog.New(LogHandler(slog.NewJSONHandler(&out, nil))).With("a", 1)
	ctx, span := tell.Tracer("x").Start(t.Context(), "x")
	log.InfoContext(ctx, "inside")
	log.Info("outside")
	lines := json.NewDecoder(&out)
	var inside, outside map[string]any
	for _, record := range []*map[string]any{&inside, &outside} {
		if err := lines.Decode(record); err != nil {
			t.Fatal(err)
		}
	}
	if inside["trace_id"] != span.SpanContext().TraceID().String() || inside["span_id"] != span.SpanContext().SpanID().String() || inside["a"] != 1.0 {
		t.Errorf("inside of a span it says %v", inside)
	}
	if _, ok := outside["trace_id"]; ok {
		t.Errorf("outside of spans it says %v", outside)
	}
}
