package rtcpool

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/penstock-media/penstock/media"
)

// BenchmarkSetUp measures the time from an offer to its answer when candidates trickle, for a first offer of two media.
func BenchmarkSetUp(b *testing.B) { benchmarkNegotiation(b, false) }

// BenchmarkRenegotiation measures the time from a further offer of the same two media to its answer.
func BenchmarkRenegotiation(b *testing.B) { benchmarkNegotiation(b, true) }

func benchmarkNegotiation(b *testing.B, again bool) {
	decoders := media.NewDecodePool(1)
	defer decoders.Close()
	p, err := New(Config{Decoders: decoders, Tracer: noopTracer(), Loopback: true})
	if err != nil {
		b.Fatal(err)
	}
	text := shape(b, "chromium", nowhere())
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		s, err := p.Open(SessionConfig{ID: fmt.Sprint(i), Observer: newRecorder()})
		if err != nil {
			b.Fatal(err)
		}
		if again {
			timed(b, s, text, 1)
		}
		took = append(took, timed(b, s, text, 2))
		s.Close()
	}
	if err := p.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
}

func timed(b *testing.B, s *Session, text string, version uint64) time.Duration {
	text = versionLine.ReplaceAllString(text, fmt.Sprintf("o=- 42 %d IN", version))
	start := time.Now()
	res, err := s.Negotiate(context.Background(), Offer{SDP: text, Trickle: true})
	if err != nil || res.Answer == nil {
		b.Fatal(res, err)
	}
	return time.Since(start)
}
