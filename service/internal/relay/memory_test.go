package relay

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
)

// picture is a raw one of 720p in I420, in bytes.
const picture = 1280 * 720 * 3 / 2

// pictures serves messages of a size, one for each that comes, out of one and the same memory.
func pictures(size int) grpc.StreamHandler {
	b := make([]byte, size)
	return func(_ any, stream grpc.ServerStream) error {
		for {
			ask := &Message{}
			if err := stream.RecvMsg(ask); err != nil {
				return nil //nolint:nilerr // the caller has had enough
			}
			ask.Free()
			if err := stream.SendMsg(NewMessage(mem.BufferSlice{mem.SliceBuffer(b)})); err != nil {
				return err
			}
		}
	}
}

// pull asks for messages, and counts the bytes that come.
func pull(ctx context.Context, t testing.TB, conn *grpc.ClientConn) func(n int) (bytes int) {
	t.Helper()
	s, err := conn.NewStream(ctx, both(), testMethod)
	if err != nil {
		t.Fatal(err)
	}
	return func(n int) (bytes int) {
		for range n {
			if err := s.SendMsg(NewMessage(mem.BufferSlice{mem.SliceBuffer("x")})); err != nil {
				t.Fatal(err)
			}
			m := &Message{}
			if err := s.RecvMsg(m); err != nil {
				t.Fatal(err)
			}
			bytes += m.Len()
			m.Free()
		}
		return bytes
	}
}

// allocated returns how many bytes each message of a size costs in allocations, over both pods and the caller.
func allocated(t *testing.T, records []runtime.MemProfileRecord, size int) (perMessage int64) {
	t.Helper()
	pool := newBuffers(t)
	c := newChain(t, pool, pictures(size))
	next := pull(bounded(t), t, c.conn)
	next(20) // until all buffers that are ever needed at one time are there
	const rounds = 50
	before := profiled(t, records)
	if got := next(rounds); got != rounds*size {
		t.Fatalf("%d bytes came, want %d", got, rounds*size)
	}
	return (profiled(t, records) - before) / rounds
}

// profiled returns how many bytes were allocated so far, without the pool of gRPC's own read buffers: it is a sync.Pool, which the race detector makes forget
// things at random.
func profiled(t *testing.T, records []runtime.MemProfileRecord) (bytes int64) {
	t.Helper()
	runtime.GC() // a profile is as of the collection before the last
	runtime.GC()
	n, ok := runtime.MemProfile(records, true)
	if !ok {
		t.Fatalf("%d records are too many", n)
	}
	for _, r := range records[:n] {
		random := false
		frames := runtime.CallersFrames(r.Stack())
		for more := true; more; {
			var f runtime.Frame
			f, more = frames.Next()
			random = random || strings.Contains(f.Function, "SimpleBufferPool")
		}
		if !random {
			bytes += r.AllocBytes
		}
	}
	return bytes
}

// TestP1_AllocationsDoNotGrowWithThePayload relays messages of 100 KB and of 1.38 MB: the larger ones cost no more than what gRPC notes down of each of its frames, far
// below a copy of what is in them.
func TestP1_AllocationsDoNotGrowWithThePayload(t *testing.T) {
	rate := runtime.MemProfileRate
	runtime.MemProfileRate = 1 // all of them
	t.Cleanup(func() { runtime.MemProfileRate = rate })
	records := make([]runtime.MemProfileRecord, 50_000)
	small, large := allocated(t, records, 100_000), allocated(t, records, picture)
	t.Logf("%d bytes a message of 100 KB, %d of %d KB", small, large, picture/1000)
	if grown := large - small; grown > (picture-100_000)/10 {
		t.Errorf("a message that is larger by %d bytes allocates %d more", picture-100_000, grown)
	}
}

// BenchmarkX11_RelayedPicture measures a picture of 720p over two pods to a caller; less BenchmarkX11_DirectPicture, which has one pod, it is the cost of the relay.
func BenchmarkX11_RelayedPicture(b *testing.B) {
	c := newChain(b, nil, pictures(picture))
	benchmark(b, c.conn)
}

// BenchmarkX11_DirectPicture measures the same without the pod between.
func BenchmarkX11_DirectPicture(b *testing.B) {
	benchmark(b, dial(b, nil, startServer(b, nil, pictures(picture))))
}

// BenchmarkX11_RelayedPicturePaced measures 120 pictures a second, as four tracks have them, over two pods to a caller: what sleeps in between must be woken.
func BenchmarkX11_RelayedPicturePaced(b *testing.B) {
	c := newChain(b, nil, pictures(picture))
	paced(b, c.conn)
}

// BenchmarkX11_DirectPicturePaced measures the same without the pod between.
func BenchmarkX11_DirectPicturePaced(b *testing.B) {
	paced(b, dial(b, nil, startServer(b, nil, pictures(picture))))
}

// paced reports the processor time of each picture where they come one by one.
func paced(b *testing.B, conn *grpc.ClientConn) {
	next := pull(bounded(b), b, conn)
	next(5)
	tick := time.NewTicker(time.Second / 120)
	defer tick.Stop()
	before := processorTime(b)
	b.ResetTimer()
	for range b.N {
		<-tick.C
		next(1)
	}
	b.StopTimer()
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// benchmark reports the processor time of each picture, of all that is in this process.
func benchmark(b *testing.B, conn *grpc.ClientConn) {
	next := pull(bounded(b), b, conn)
	next(5)
	b.ReportAllocs()
	b.SetBytes(picture)
	before := processorTime(b)
	b.ResetTimer()
	next(b.N)
	b.StopTimer()
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}
