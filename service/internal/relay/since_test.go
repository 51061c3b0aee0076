package relay

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
)

// TestP9_SinceIsProved: what another pod tells of a stream's age comes with the proof, and nothing that is said beside it counts.
func TestP9_SinceIsProved(t *testing.T) {
	keys := keysOf(t, 's')
	g := NewGate("b", keys, nil, nil, slog.New(slog.DiscardHandler))
	since := time.Unix(1_700_000_000, 123)
	for _, again := range []bool{false, true} {
		proof := newProof(WithSince(t.Context(), since, again), "a", "b", testMethod, Caller{}).encode(keys)
		ctx, err := g.Enter(incoming(proof), testMethod)
		if err != nil {
			t.Fatal(err)
		}
		got, was, ok := Since(ctx)
		if !ok || !got.Equal(since) || was != again {
			t.Errorf("again %v: read %v, %v, %v", again, got, was, ok)
		}
	}
	beside := metadata.MD{Metadata: []string{proofNow(func(p *proof) { p.since = "" }).encode(keys)}, "penstock-since": []string{"1"}}
	ctx, err := g.Enter(metadata.NewIncomingContext(t.Context(), beside), testMethod)
	if err != nil {
		t.Fatal(err)
	}
	if got, again, ok := Since(ctx); ok || again || !got.IsZero() {
		t.Errorf("beside the proof: read %v, %v, %v", got, again, ok)
	}
}

// TestSinceIsReadOrNotThere takes what cannot be read of a stream's age for nothing.
func TestSinceIsReadOrNotThere(t *testing.T) {
	for name, value := range map[string]string{
		"none": "", "word": "yesterday", "large": "9223372036854775808", "suffix": againSuffix, "twice": "1 again again",
	} {
		got, again, ok := Since(context.WithValue(t.Context(), forwardKey{}, Forward{since: value}))
		if ok || again || !got.IsZero() {
			t.Errorf("%s: read %v, %v, %v", name, got, again, ok)
		}
	}
	if _, _, ok := Since(t.Context()); ok {
		t.Error("a call that nobody forwarded has an age")
	}
}
