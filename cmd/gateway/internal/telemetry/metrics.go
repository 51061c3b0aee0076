package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

const (
	// maxScrapes is how many may ask for metrics at one time. One is served, the others wait.
	maxScrapes = 4
	// scrapeTimeout bounds a wait.
	scrapeTimeout = 10 * time.Second
)

// Metrics collects what the process measures, when Prometheus asks and, where the environment says so, to push it over OTLP. Its methods are safe for
// concurrent use.
type Metrics struct {
	log      *slog.Logger
	provider *sdkmetric.MeterProvider
	handler  http.Handler
}

// Metrics sets up the collection of metrics of this process, as NewMetrics does. Shutdown must be called of it too.
func (t *Telemetry) Metrics(ctx context.Context) (*Metrics, error) {
	return NewMetrics(ctx, t.resource, t.log, os.Getenv)
}

// NewMetrics sets up the collection of metrics, also of the Go runtime and the process. It pushes them too where OTEL_METRICS_EXPORTER is otlp. Shutdown must be called.
func NewMetrics(ctx context.Context, res *resource.Resource, log *slog.Logger, env func(string) string) (*Metrics, error) {
	registry := prometheus.NewPedanticRegistry()
	for _, c := range []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("metrics of the process: %w", err)
		}
	}
	exporter, err := otelprometheus.New(
		otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo(), otelprometheus.WithoutTargetInfo(),
		otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithoutSuffixes), // names are in the table as they are shown
	)
	if err != nil {
		return nil, fmt.Errorf("metrics for Prometheus: %w", err)
	}
	options := []sdkmetric.Option{sdkmetric.WithReader(exporter), sdkmetric.WithResource(res)}
	if strings.EqualFold(env("OTEL_METRICS_EXPORTER"), "otlp") && !strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") {
		push, err := otlpmetricgrpc.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("OTEL_METRICS_EXPORTER: %w", err)
		}
		options = append(options, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(push)))
	}
	m := &Metrics{log: log, provider: sdkmetric.NewMeterProvider(options...)}
	m.handler = one(promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
		EnableOpenMetrics: true,
	}))
	return m, nil
}

// one serves one request at a time; some more wait for their turn, as long as their callers do, and what is beyond is refused.
func one(next http.Handler) http.Handler {
	places, turn := make(chan struct{}, maxScrapes), make(chan struct{}, 1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many ask for metrics at a time", http.StatusServiceUnavailable)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), scrapeTimeout)
		defer cancel()
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
			next.ServeHTTP(w, r)
		case <-ctx.Done():
			http.Error(w, "others are still being told metrics", http.StatusServiceUnavailable)
		}
	})
}

// Meter returns what makes the instruments of a package.
func (m *Metrics) Meter(name string) metric.Meter { return m.provider.Meter(name) }

// Handler serves Prometheus: its text format, or OpenMetrics where that is asked for, which has exemplars.
func (m *Metrics) Handler() http.Handler { return m.handler }

// Shutdown pushes what is still to be pushed, if anything is, as long as ctx and a bound of its own allow.
func (m *Metrics) Shutdown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	if err := m.provider.Shutdown(ctx); err != nil && !errors.Is(err, sdkmetric.ErrReaderShutdown) {
		m.log.Warn("the last metrics were not taken by the collector", "error", err)
	}
}
