package telemetry

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Attributes of the process (OpenTelemetry's semantic conventions for resources).
const (
	serviceName     = attribute.Key("service.name")
	serviceVersion  = attribute.Key("service.version")
	serviceInstance = attribute.Key("service.instance.id")
)

// maxValue bounds the text of an attribute, in bytes, where OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT does not: some comes from callers, and many spans wait for a collector.
const maxValue = 1024

// errEnvironment means that a variable of the OpenTelemetry specification has a value that this program cannot follow.
var errEnvironment = errors.New("cannot be followed")

// newTraces makes the provider of spans. Spans wait in a bounded queue; what a collector does not take in time is dropped, and nothing waits for it.
func newTraces(ctx context.Context, cfg Config, res *resource.Resource, env func(string) string) (*traces, error) {
	if err := checkProtocol(env); err != nil {
		return nil, err
	}
	sampler, err := newSampler(cfg, env)
	if err != nil {
		return nil, err
	}
	var opts []otlptracegrpc.Option
	if cfg.Endpoint != "" {
		opts = append(opts, otlptracegrpc.WithEndpointURL(cfg.Endpoint))
	}
	exporter, err := otlptracegrpc.New(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("OTLP exporter: %w", err)
	}
	limits := sdktrace.NewSpanLimits() // with what the environment says
	if limits.AttributeValueLengthLimit < 0 {
		limits.AttributeValueLengthLimit = maxValue
	}
	last := &lastExporter{SpanExporter: exporter, ended: make(chan struct{})}
	return &traces{
		TracerProvider: sdktrace.NewTracerProvider(
			sdktrace.WithBatcher(last), sdktrace.WithResource(res), sdktrace.WithSampler(sampler), sdktrace.WithRawSpanLimits(limits),
		),
		exporter: last,
	}, nil
}

// traces is a provider of spans that can be ended.
type traces struct {
	*sdktrace.TracerProvider
	exporter *lastExporter
}

// lastExporter tells when nothing is exported any more.
type lastExporter struct {
	sdktrace.SpanExporter
	ended chan struct{}
}

// Shutdown implements sdktrace.SpanExporter. The provider calls it once, after its last batch.
func (e *lastExporter) Shutdown(ctx context.Context) error {
	defer close(e.ended)
	return e.SpanExporter.Shutdown(ctx)
}

// shutdown exports what waits until ctx ends. What is under way then is broken off and waited for: the provider alone would leave it behind.
func (t *traces) shutdown(ctx context.Context) error {
	err := t.TracerProvider.Shutdown(ctx)
	if err == nil {
		return nil
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	_ = t.exporter.SpanExporter.Shutdown(over) // says again that it was broken off
	<-t.exporter.ended
	return err
}

// tracingWanted tells whether anything asks for traces: the endpoint given, or the variables of the OpenTelemetry specification.
func tracingWanted(endpoint string, env func(string) string) bool {
	if strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") || strings.EqualFold(env("OTEL_TRACES_EXPORTER"), "none") {
		return false
	}
	return endpoint != "" || env("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// checkProtocol refuses another way to a collector than the one there is, rather than to talk gRPC to a port that does not.
func checkProtocol(env func(string) string) error {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if v := env(name); v != "" && v != "grpc" {
			return fmt.Errorf("%s: %q %w; set it to grpc, and the endpoint to the collector's port for that, usually 4317", name, v, errEnvironment)
		}
	}
	return nil
}
