// Package telemetry is what the process tells of itself to those who operate it: traces over OTLP, and log records that name the trace they belong
// to. What is told never holds up the work: what a collector does not take in time is left out.
package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// shutdownTimeout bounds how long what is still to be told may take when the process ends: a collector that does not answer must not hold it.
const shutdownTimeout = 3 * time.Second

// Config is what a Telemetry needs. The variables of the OpenTelemetry specification are read beside it, from the process's environment.
type Config struct {
	// Endpoint is the URL of a collector that takes OTLP over gRPC. Empty leaves it to the environment, and without that tracing is off.
	Endpoint string
	// Sample is the share of traces begun here that is kept, 0 to 1. 1 leaves it to OTEL_TRACES_SAMPLER, where that is set.
	Sample float64
	// CallersRate is how many traces a second callers may have kept beyond that share, by saying in their trace context that theirs is.
	CallersRate int
	// PodSecrets are what all pods share: by the first one pods prove that a trace context comes from a pod, so that CallersRate
	// does not cut a trace in two; what was made by the others is still accepted. Secret.
	PodSecrets [][]byte
	// Version is the release of this program, and Instance the process's incarnation.
	Version, Instance string
	// Logger is told what goes wrong. Required.
	Logger *slog.Logger
}

// Telemetry holds what tells. Its methods are safe for concurrent use.
type Telemetry struct {
	log        *slog.Logger
	resource   *resource.Resource
	traces     *traces // nil where tracing is off
	propagator propagation.TextMapPropagator
	seal       seal
}

// New sets up what the configuration and the environment ask for. It does not wait for the collector. Shutdown must be called.
// What it returns in error names what is wrong with the environment, and how to mend it.
func New(ctx context.Context, cfg Config) (*Telemetry, error) {
	seal := newSeal(cfg.PodSecrets)
	t := &Telemetry{log: cfg.Logger, propagator: sealingPropagator{seal: seal}, seal: seal}
	var err error
	if t.resource, err = describe(ctx, cfg); err != nil {
		return nil, err
	}
	if !tracingWanted(cfg.Endpoint, os.Getenv) {
		return t, nil
	}
	t.traces, err = newTraces(ctx, cfg, t.resource, os.Getenv)
	return t, err
}

// ChangePodSecrets replaces Config.PodSecrets.
func (t *Telemetry) ChangePodSecrets(secrets [][]byte) { t.seal.change(secrets) }

// TracerProvider makes spans. It is nil where tracing is off.
func (t *Telemetry) TracerProvider() trace.TracerProvider {
	if t.traces == nil { // not a nil pointer in an interface
		return nil
	}
	return t.traces
}

// Tracer returns what makes the spans of a package; its spans are none where tracing is off.
func (t *Telemetry) Tracer(name string) trace.Tracer {
	if t.traces == nil {
		return noop.NewTracerProvider().Tracer(name)
	}
	return t.traces.Tracer(name)
}

// Propagator carries trace contexts (W3C Trace Context) between callers, this process and other pods.
func (t *Telemetry) Propagator() propagation.TextMapPropagator { return t.propagator }

// Shutdown tells what is still to be told, for as long as ctx and a bound of its own allow. That a collector does not take it is no
// error: it is logged.
func (t *Telemetry) Shutdown(ctx context.Context) {
	if t.traces == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	if err := t.traces.shutdown(ctx); err != nil {
		t.log.Warn("the last traces were not taken by the collector", "error", err)
	}
}

// describe says what process it is that tells. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
func describe(ctx context.Context, cfg Config) (*resource.Resource, error) {
	res, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithHost(),
		resource.WithAttributes(
			serviceName.String("penstock-gateway"), serviceVersion.String(cfg.Version), serviceInstance.String(cfg.Instance),
		),
		resource.WithFromEnv(), // last, so that it wins
	)
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w; write it like deployment.environment.name=production,k8s.cluster.name=a", err)
	}
	return res, nil
}
