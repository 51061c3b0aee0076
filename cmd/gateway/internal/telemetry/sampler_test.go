package telemetry

import (
	"context"
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// none is an empty environment.
func none(string) string { return "" }

// tracing returns a tracer whose spans are kept as the configuration says.
func tracing(t *testing.T, cfg Config, env func(string) string) trace.Tracer {
	t.Helper()
	sampler, err := newSampler(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	return sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler)).Tracer("x")
}

// kept counts the spans that are kept of n that begin in the contexts that parent gives.
func kept(tracer trace.Tracer, n int, parent func(i int) context.Context) (count int) {
	for i := range n {
		_, span := tracer.Start(parent(i), "x")
		if span.SpanContext().IsSampled() {
			count++
		}
		span.End()
	}
	return count
}

// parent returns the identity of a caller's span.
func parent(i int, flags trace.TraceFlags) trace.SpanContext {
	cfg := trace.SpanContextConfig{TraceFlags: flags, Remote: true}
	binary.BigEndian.PutUint64(cfg.TraceID[:], 1)
	for j := range 8 { // the sampler looks at the last bytes, so let these be spread
		cfg.TraceID[8+j] = byte(i * 151 >> j)
	}
	binary.BigEndian.PutUint64(cfg.SpanID[:], uint64(i)+1)
	return trace.NewSpanContext(cfg)
}

// TestShareOfTraces keeps the share that is set of the traces begun here, or all or none.
func TestShareOfTraces(t *testing.T) {
	root := func(int) context.Context { return context.Background() }
	for _, c := range []struct {
		cfg         Config
		env         map[string]string
		least, most int // of 2000
	}{
		{Config{Sample: 1}, nil, 2000, 2000},
		{Config{Sample: 0}, nil, 0, 0},
		{Config{Sample: 0.5}, nil, 800, 1200},
		{Config{Sample: 1}, map[string]string{"OTEL_TRACES_SAMPLER": "always_off"}, 0, 0},
		{Config{Sample: 1}, map[string]string{"OTEL_TRACES_SAMPLER": "always_on"}, 2000, 2000},
		{Config{Sample: 1}, map[string]string{"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, 2000, 2000},
		{Config{Sample: 1}, map[string]string{"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, 0, 0},
		{Config{Sample: 1}, map[string]string{"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}, 800, 1200},
		{Config{Sample: 1}, map[string]string{"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, 0, 0},
		{Config{Sample: 0.5}, map[string]string{"OTEL_TRACES_SAMPLER": "always_off"}, 800, 1200}, // what is set for this program wins
	} {
		if n := kept(tracing(t, c.cfg, func(k string) string { return c.env[k] }), 2000, root); n < c.least || n > c.most {
			t.Errorf("%+v %v: %d of 2000 are kept", c.cfg, c.env, n)
		}
	}
}

// TestCallersCannotForceTraces calls with trace contexts that say that they are kept: only so many a second are, unless they come from a pod.
func TestCallersCannotForceTraces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret := [][]byte{[]byte("new secret of all pods, 32 bytes"), []byte("old secret of all pods, 32 bytes")}
		tracer := tracing(t, Config{Sample: 0, CallersRate: 10}, none)
		stranger := func(i int) context.Context {
			return trace.ContextWithRemoteSpanContext(context.Background(), parent(i, trace.FlagsSampled))
		}
		if n := kept(tracer, 100, stranger); n != 10 {
			t.Errorf("%d traces of a stranger are kept at once, want 10", n)
		}
		time.Sleep(500 * time.Millisecond)
		if n := kept(tracer, 100, stranger); n != 5 {
			t.Errorf("%d traces of a stranger are kept after half a second more, want 5", n)
		}
		carried := func(from, to sealingPropagator, change func(propagation.MapCarrier)) func(int) context.Context {
			return func(i int) context.Context {
				carrier := propagation.MapCarrier{}
				from.Inject(trace.ContextWithSpanContext(context.Background(), parent(i, trace.FlagsSampled)), carrier)
				if change != nil {
					change(carrier)
				}
				return to.Extract(context.Background(), carrier)
			}
		}
		here := sealingPropagator{seal: newSeal(secret)}
		older := sealingPropagator{seal: newSeal(secret[1:])}
		for _, from := range []sealingPropagator{here, older} {
			if n := kept(tracer, 100, carried(from, here, nil)); n != 100 {
				t.Errorf("%d of 100 traces of another pod are kept", n)
			}
		}
		other := sealingPropagator{seal: newSeal([][]byte{[]byte("another deployment's, of 32 bytes")})}
		alone := sealingPropagator{seal: newSeal(nil)}
		for name, from := range map[string]func(int) context.Context{
			"another secret": carried(other, here, nil),
			"another trace's MAC": carried(here, here, func(c propagation.MapCarrier) {
				c["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
			}),
			"no hexadecimal":         carried(here, here, func(c propagation.MapCarrier) { c["tracestate"] = "penstock=x" }),
			"a process without pods": carried(here, alone, nil),
		} {
			if n := kept(tracer, 100, from); n != 0 {
				t.Errorf("%s: %d traces are kept beyond the rate", name, n)
			}
		}
	})
}

// TestCallersAreFollowed lets a caller's word decide: his trace is kept or not as he says, within the rate.
func TestCallersAreFollowed(t *testing.T) {
	for _, share := range []float64{0, 1} {
		tracer := tracing(t, Config{Sample: share, CallersRate: 1000}, none)
		for flags, want := range map[trace.TraceFlags]int{trace.FlagsSampled: 100, 0: 0} {
			n := kept(tracer, 100, func(i int) context.Context {
				return trace.ContextWithRemoteSpanContext(context.Background(), parent(i, flags))
			})
			if n != want {
				t.Errorf("share %v, flags %v: %d of 100 are kept", share, flags, n)
			}
		}
	}
	if n := kept(tracing(t, Config{Sample: 1, CallersRate: 0}, none), 100, func(i int) context.Context {
		return trace.ContextWithRemoteSpanContext(context.Background(), parent(i, trace.FlagsSampled))
	}); n != 100 {
		t.Errorf("where all are kept, %d of 100 callers' are", n)
	}
}

// TestTheMemberOfPodsStaysAmongThem takes what pods say to each other out of what is recorded, and leaves the caller's own trace state.
func TestTheMemberOfPodsStaysAmongThem(t *testing.T) {
	p := sealingPropagator{seal: newSeal([][]byte{[]byte("the secret of all pods, 32 bytes")})}
	state, err := trace.ParseTraceState("vendor=1")
	if err != nil {
		t.Fatal(err)
	}
	sc := parent(1, trace.FlagsSampled).WithTraceState(state)
	carrier := propagation.MapCarrier{}
	p.Inject(trace.ContextWithSpanContext(t.Context(), sc), carrier)
	if len(carrier["tracestate"]) < len("penstock=,vendor=1")+2*sealLength {
		t.Errorf("pods are told %q", carrier["tracestate"])
	}
	got := trace.SpanContextFromContext(p.Extract(t.Context(), carrier))
	if !got.Equal(sc) {
		t.Errorf("got %v, want %v", got, sc)
	}
}

// FuzzExtract reads trace contexts as strangers write them: none comes from a pod.
func FuzzExtract(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "penstock=000102030405060708090a0b")
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "penstock=,vendor=1")
	f.Add("ff-0-0-0", "=,=")
	f.Add("", "")
	p := sealingPropagator{seal: newSeal([][]byte{[]byte("the secret of all pods, 32 bytes")})}
	f.Fuzz(func(t *testing.T, traceparent, tracestate string) {
		ctx := p.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceparent, "tracestate": tracestate})
		if fromPod(ctx) {
			t.Errorf("%q %q is taken for a pod's", traceparent, tracestate)
		}
		if sc := trace.SpanContextFromContext(ctx); sc.TraceState().Get(sealMember) != "" {
			t.Errorf("%q is handed on", sc.TraceState())
		}
	})
}
