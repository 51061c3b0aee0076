package relay

import (
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
)

// TestSinceIsReadOrNotThere reads what other pods tell of a stream's age, and takes what cannot be read for nothing.
func TestSinceIsReadOrNotThere(t *testing.T) {
	since := time.Unix(1_700_000_000, 123)
	for _, again := range []bool{false, true} {
		md := metadata.Pairs(sinceMetadata, sinceValue{since, again}.encode())
		got, was, ok := Since(metadata.NewIncomingContext(t.Context(), md))
		if !ok || !got.Equal(since) || was != again {
			t.Errorf("again %v: read %v, %v, %v", again, got, was, ok)
		}
	}
	for name, values := range map[string][]string{
		"none": nil, "two": {"1", "2"}, "empty": {""}, "word": {"yesterday"}, "large": {"9223372036854775808"}, "suffix": {againSuffix}, "twice": {"1 again again"},
	} {
		got, again, ok := Since(metadata.NewIncomingContext(t.Context(), metadata.MD{sinceMetadata: values}))
		if ok || again || !got.IsZero() {
			t.Errorf("%s: read %v, %v, %v", name, got, again, ok)
		}
	}
}
