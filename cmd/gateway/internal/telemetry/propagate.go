package telemetry

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"sync/atomic"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// sealMember is the member of the trace state (W3C Trace Context section 3.3) by which a pod says that the context comes from it.
const sealMember = "penstock"

// sealLength is how many bytes of the MAC are sent: enough, since a forged one gains only a trace that is kept.
const sealLength = 12

// seal makes and checks the MACs of trace contexts.
type seal struct {
	keys *atomic.Pointer[[][]byte] // none, or nil, for a process that is alone
}

// newSeal derives the keys from the pods' secrets, so that what is seen of MACs tells nothing of those.
func newSeal(secrets [][]byte) seal {
	s := seal{&atomic.Pointer[[][]byte]{}}
	s.change(secrets)
	return s
}

// change has MACs follow from other secrets.
func (s seal) change(secrets [][]byte) {
	var keys [][]byte
	for _, secret := range secrets {
		if key, err := hkdf.Key(sha256.New, secret, nil, "penstock trace context", sha256.Size); err == nil { // it fails for lengths only
			keys = append(keys, key)
		}
	}
	s.keys.Store(&keys)
}

// now returns the keys, the one to use first.
func (s seal) now() [][]byte {
	if s.keys == nil || s.keys.Load() == nil {
		return nil
	}
	return *s.keys.Load()
}

// mac returns the MAC of a span's ids.
func mac(key []byte, sc trace.SpanContext) []byte {
	h := hmac.New(sha256.New, key)
	traceID, spanID := sc.TraceID(), sc.SpanID()
	h.Write(traceID[:])
	h.Write(spanID[:])
	return h.Sum(nil)[:sealLength]
}

// holds tells whether a MAC is one of the context.
func (s seal) holds(sc trace.SpanContext, text string) bool {
	given, err := hex.DecodeString(text)
	if err != nil {
		return false
	}
	for _, key := range s.now() {
		if hmac.Equal(given, mac(key, sc)) {
			return true
		}
	}
	return false
}

// sealingPropagator is the W3C Trace Context, with a member of the trace state by which pods know each other's. Baggage is not taken: nothing here
// reads it, and it would carry a stranger's text to other pods.
type sealingPropagator struct {
	propagation.TraceContext
	seal seal
}

// Inject implements propagation.TextMapPropagator. It is used towards pods only.
func (p sealingPropagator) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	keys := p.seal.now()
	if sc := trace.SpanContextFromContext(ctx); sc.IsSampled() && len(keys) > 0 {
		if state, err := sc.TraceState().Insert(sealMember, hex.EncodeToString(mac(keys[0], sc))); err == nil {
			ctx = trace.ContextWithSpanContext(ctx, sc.WithTraceState(state))
		}
	}
	p.TraceContext.Inject(ctx, carrier)
}

// Extract implements propagation.TextMapPropagator.
func (p sealingPropagator) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	ctx = p.TraceContext.Extract(ctx, carrier)
	sc := trace.SpanContextFromContext(ctx)
	text := sc.TraceState().Get(sealMember)
	if text == "" {
		return ctx
	}
	ctx = trace.ContextWithRemoteSpanContext(ctx, sc.WithTraceState(sc.TraceState().Delete(sealMember)))
	return context.WithValue(ctx, podKey{}, p.seal.holds(sc, text))
}

// podKey is the key of the context's value that says whether the trace comes from another pod.
type podKey struct{}

// fromPod tells whether a span's parent was made by another pod.
func fromPod(ctx context.Context) bool {
	proved, _ := ctx.Value(podKey{}).(bool)
	return proved
}
