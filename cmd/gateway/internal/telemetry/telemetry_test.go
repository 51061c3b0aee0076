package telemetry

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstock-media/penstock/internal/leak"
)

// hang bounds what could wait for ever, far above what it takes.
const hang = 2 * time.Minute

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// unset takes the variables of the OpenTelemetry specification out of the environment of a test.
func unset(t *testing.T) {
	t.Helper()
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_SAMPLER", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"} {
		t.Setenv(name, "")
	}
}

func TestTracingIsOffUnlessAskedFor(t *testing.T) {
	unset(t)
	for _, c := range []struct {
		endpoint string
		env      map[string]string
		want     bool
	}{
		{"", nil, false},
		{"http://x", nil, true},
		{"", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, true},
		{"", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, true},
		{"http://x", map[string]string{"OTEL_SDK_DISABLED": "True"}, false},
		{"http://x", map[string]string{"OTEL_TRACES_EXPORTER": "none"}, false},
	} {
		if got := tracingWanted(c.endpoint, func(k string) string { return c.env[k] }); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	tell, err := New(t.Context(), Config{Sample: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil || tell.TracerProvider() != nil {
		t.Fatalf("got %v, %v", tell.TracerProvider(), err)
	}
	if _, span := tell.Tracer("x").Start(t.Context(), "x"); span.IsRecording() {
		t.Error("there are spans though nobody takes them")
	}
	tell.Shutdown(t.Context())
}

// TestBadEnvironment says for each value that cannot be followed what to set instead.
func TestBadEnvironment(t *testing.T) {
	for name, c := range map[string]struct{ value, mend string }{
		"OTEL_EXPORTER_OTLP_PROTOCOL":        {"http/protobuf", "set it to grpc"},
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": {"http/json", "set it to grpc"},
		"OTEL_TRACES_SAMPLER":                {"jaeger_remote", "--trace-sample"},
		"OTEL_TRACES_SAMPLER_ARG":            {"2", "from 0 to 1"},
		"OTEL_RESOURCE_ATTRIBUTES":           {"novalue", "deployment.environment.name=production"},
	} {
		t.Run(name, func(t *testing.T) {
			unset(t)
			if name == "OTEL_TRACES_SAMPLER_ARG" {
				t.Setenv("OTEL_TRACES_SAMPLER", "traceidratio")
			}
			t.Setenv(name, c.value)
			_, err := New(t.Context(), Config{Endpoint: "http://127.0.0.1:1", Sample: 1, Logger: slog.New(slog.DiscardHandler)})
			if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), c.mend) {
				t.Errorf("got %v, want %s and %q in it", err, name, c.mend)
			}
		})
	}
}

// TestBrokenCollectorHoldsNothing makes more spans than any queue takes while the collector accepts connections and never answers: no span waits
// for it, and nor does the end.
func TestBrokenCollectorHoldsNothing(t *testing.T) {
	unset(t)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var log strings.Builder
	tell, err := New(t.Context(), Config{Endpoint: "http://" + l.Addr().String(), Sample: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		tracer := tell.Tracer("x")
		for range 10_000 {
			_, span := tracer.Start(context.Background(), "x")
			span.End()
		}
		tell.Shutdown(context.Background())
	}()
	select {
	case <-done:
	case <-time.After(hang):
		t.Fatal("a collector that does not answer holds the process")
	}
	if !strings.Contains(log.String(), "not taken by the collector") {
		t.Errorf("it is not told: %q", log.String())
	}
}

// TestTextsOfCallersAreCut gives a span a text as long as a caller could make it: what is kept for the collector is short, unless the operator says otherwise.
func TestTextsOfCallersAreCut(t *testing.T) {
	for limit, want := range map[string]int{"": maxValue, "5000": 5000} {
		unset(t)
		t.Setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", limit)
		tell, err := New(t.Context(), Config{Endpoint: "http://127.0.0.1:1", Sample: 1, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		_, span := tell.Tracer("x").Start(t.Context(), "x", trace.WithAttributes(attribute.String("a", strings.Repeat("x", 1<<20))))
		kept, ok := span.(sdktrace.ReadOnlySpan)
		if !ok || len(kept.Attributes()) != 1 || len(kept.Attributes()[0].Value.AsString()) != want {
			t.Errorf("of a text the span keeps other than %d bytes", want)
		}
		tell.Shutdown(t.Context())
	}
}

// TestFaultsAreLoggedOnceAMinute lets a collector fail with every batch for two minutes.
func TestFaultsAreLoggedOnceAMinute(t *testing.T) {
	var log strings.Builder
	now := time.Unix(1_000, 0)
	var h otel.ErrorHandler = &faultHandler{log: slog.New(slog.NewTextHandler(&log, nil)), now: func() time.Time { return now }}
	for range 121 {
		h.Handle(context.DeadlineExceeded)
		now = now.Add(time.Second)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "left_out=0") || !strings.Contains(lines[1], "left_out=59") || !strings.Contains(lines[2], "left_out=59") {
		t.Errorf("logged:\n%s", log.String())
	}
}
