package rtcpool_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool"
	"go.opentelemetry.io/otel/trace/noop"
)

const (
	idleChild    = "PENSTOCK_BENCH_IDLE_SFUS"    // set in the process of the SFUs
	idleProfile  = "PENSTOCK_BENCH_IDLE_PROFILE" // a file for the heap profile; empty is none
	idleSessions = 200
)

// BenchmarkX8_IdleSession measures what one session costs that is connected and receives nothing: 200 of them, the SFUs in
// another process. Run it with -benchtime 1x.
func BenchmarkX8_IdleSession(b *testing.B) {
	if os.Getenv(idleChild) != "" {
		idleSFUs(b)
		return
	}
	b.Run("sockets=own", func(b *testing.B) {
		for b.Loop() {
			measureIdle(b, rtcpool.NetworkConfig{})
		}
	})
	b.Run("sockets=shared", func(b *testing.B) {
		for b.Loop() {
			measureIdle(b, rtcpool.NetworkConfig{UDPMuxPort: 21000 + uint16(os.Getpid()%1000)})
		}
	})
}

// line is what the two processes write to each other: an offer, or the answer to it.
type line struct{ SDP string }

// piped is a Signaller that asks another process.
type piped struct {
	mu  sync.Mutex
	out *json.Encoder
	in  *json.Decoder
}

// Negotiate implements sfutest.Signaller.
func (p *piped) Negotiate(_ context.Context, _ uint64, offer string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.out.Encode(line{offer}); err != nil {
		return "", err
	}
	var answer line
	err := p.in.Decode(&answer)
	return answer.SDP, err
}

// ReportEvents implements sfutest.Signaller.
func (p *piped) ReportEvents(context.Context, ...*penstockv1.CallEvent) error { return nil }

// idleSFUs is the other process: SFUs that publish a silent microphone each, until its input ends.
func idleSFUs(b *testing.B) {
	pipe := &piped{out: json.NewEncoder(os.NewFile(3, "offers")), in: json.NewDecoder(os.Stdin)}
	for range idleSessions {
		sfu, err := sfutest.New(sfutest.Config{Signaller: pipe})
		if err != nil {
			b.Fatal(err)
		}
		defer sfu.Close()
		track, err := sfu.NewTrack(sfutest.Participant{ParticipantID: "alice"}, microphone, clips.AliceMicrophone())
		if err != nil {
			b.Fatal(err)
		}
		track.Hold(true)
		if err := sfu.Add(context.Background(), track); err != nil {
			b.Fatal(err)
		}
	}
	_, _ = io.Copy(io.Discard, bufio.NewReader(os.Stdin))
}

// startIdleSFUs runs the other process.
func startIdleSFUs(b *testing.B) (in *json.Decoder, out *json.Encoder) {
	b.Helper()
	offers, theirs, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkX8_IdleSession$", "-test.benchtime=1x")
	cmd.Env = append(os.Environ(), idleChild+"=1")
	cmd.ExtraFiles, cmd.Stderr = []*os.File{theirs}, os.Stderr
	answers, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	_ = theirs.Close()
	b.Cleanup(func() {
		_, _ = answers.Close(), offers.Close()
		_ = cmd.Wait()
	})
	return json.NewDecoder(offers), json.NewEncoder(answers)
}

func measureIdle(b *testing.B, network rtcpool.NetworkConfig) {
	b.Helper()
	decoders := media.NewDecodePool(2)
	defer decoders.Close()
	pool, err := rtcpool.New(rtcpool.Config{
		Decoders: decoders, Tracer: noop.NewTracerProvider().Tracer("bench"), Loopback: true, Logger: slog.New(slog.DiscardHandler),
		Network: network,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close(context.Background())
	in, out := startIdleSFUs(b)
	before := memoryNow(b)
	for i := range idleSessions {
		seen := newObserved()
		session, err := pool.Open(rtcpool.SessionConfig{ID: fmt.Sprint(i), Observer: seen})
		if err != nil {
			b.Fatal(err)
		}
		var offer line
		if err := in.Decode(&offer); err != nil {
			b.Fatal(err)
		}
		seen.sfu.Store(&sfutest.SFU{})
		r, err := session.Negotiate(context.Background(), rtcpool.Offer{SDP: offer.SDP})
		if err != nil || r.Answer == nil {
			b.Fatal(r, err)
		}
		if err := out.Encode(line{r.Answer.SDP}); err != nil {
			b.Fatal(err)
		}
		connectedNow(b, seen)
	}
	after := memoryNow(b)
	if file := os.Getenv(idleProfile); file != "" {
		writeHeapProfile(b, file)
	}
	b.ReportMetric(float64(after.heap-before.heap)/idleSessions, "heap-B/session")
	b.ReportMetric(float64(after.stacks-before.stacks)/idleSessions, "stack-B/session")
	b.ReportMetric(float64(after.rss-before.rss)/idleSessions, "RSS-B/session")
	b.ReportMetric(float64(after.goroutines-before.goroutines)/idleSessions, "goroutines/session")
	b.ReportMetric(0, "ns/op")
}

// connectedNow waits until the first generation is connected.
func connectedNow(b *testing.B, o *observed) {
	b.Helper()
	for {
		o.mu.Lock()
		states, changed := o.states[1], o.changed
		o.mu.Unlock()
		if len(states) > 0 && states[len(states)-1] == rtcpool.StateConnected {
			return
		}
		<-changed
	}
}

type memory struct {
	heap, stacks, rss int64
	goroutines        int
}

func memoryNow(b *testing.B) memory {
	b.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		b.Fatal(err)
	}
	return memory{int64(m.HeapInuse), int64(m.StackInuse), resident * int64(os.Getpagesize()), runtime.NumGoroutine()}
}

func writeHeapProfile(b *testing.B, file string) {
	b.Helper()
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := pprof.Lookup("heap").WriteTo(f, 0); err != nil {
		b.Fatal(err)
	}
}
