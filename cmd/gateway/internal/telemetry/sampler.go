package telemetry

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// newSampler returns what decides which traces are kept: the caller's trace goes on as the caller says, within CallersRate, and of those
// begun here a share is kept. OTEL_TRACES_SAMPLER is followed where Sample is 1.
func newSampler(cfg Config, env func(string) string) (sdktrace.Sampler, error) {
	name := env("OTEL_TRACES_SAMPLER")
	if cfg.Sample < 1 || name == "" {
		return parentBased(cfg, sdktrace.TraceIDRatioBased(cfg.Sample)), nil
	}
	share := 1.0
	if arg := env("OTEL_TRACES_SAMPLER_ARG"); arg != "" {
		var err error
		if share, err = strconv.ParseFloat(arg, 64); err != nil || !(share >= 0 && share <= 1) {
			return nil, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG: %q %w; use a number from 0 to 1", arg, errEnvironment)
		}
	}
	switch name {
	case "always_on":
		return sdktrace.AlwaysSample(), nil
	case "always_off":
		return sdktrace.NeverSample(), nil
	case "traceidratio":
		return sdktrace.TraceIDRatioBased(share), nil
	case "parentbased_always_on":
		return parentBased(cfg, sdktrace.AlwaysSample()), nil
	case "parentbased_always_off":
		return parentBased(cfg, sdktrace.NeverSample()), nil
	case "parentbased_traceidratio":
		return parentBased(cfg, sdktrace.TraceIDRatioBased(share)), nil
	}
	return nil, fmt.Errorf("OTEL_TRACES_SAMPLER: %q %w; unset it and set --trace-sample, or use parentbased_traceidratio with OTEL_TRACES_SAMPLER_ARG", name, errEnvironment)
}

// parentBased returns the sampler that follows the parent of a span, and root where there is none.
func parentBased(cfg Config, root sdktrace.Sampler) sdktrace.Sampler {
	return sdktrace.ParentBased(root, sdktrace.WithRemoteParentSampled(&callersSampler{beyond: root, rate: float64(cfg.CallersRate)}))
}

// callersSampler decides on traces that callers say are kept. Another pod's word is taken; that of a stranger, who could have
// every call of his kept, within a rate, a second's worth of which may come at once. Beyond it he is treated like one who says nothing.
type callersSampler struct {
	beyond sdktrace.Sampler
	rate   float64 // a second

	mu   sync.Mutex
	left float64
	at   time.Time // when left was so
}

// ShouldSample implements sdktrace.Sampler.
func (s *callersSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if !fromPod(p.ParentContext) && !s.take(time.Now()) {
		return s.beyond.ShouldSample(p)
	}
	return sdktrace.SamplingResult{
		Decision: sdktrace.RecordAndSample, Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState(),
	}
}

// Description implements sdktrace.Sampler.
func (s *callersSampler) Description() string {
	return fmt.Sprintf("Callers{%g/s,%s}", s.rate, s.beyond.Description())
}

// take takes one trace out of the rate, if there is one left.
func (s *callersSampler) take(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at.IsZero() {
		s.left = s.rate
	} else {
		s.left = min(s.rate, s.left+s.rate*max(now.Sub(s.at), 0).Seconds())
	}
	s.at = now
	if s.left < 1 {
		return false
	}
	s.left--
	return true
}
