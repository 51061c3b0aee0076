package tlsbatch

import (
	"bytes"
	"context"
	"net"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/peer"
)

// picture is a raw one of 720p in I420, in bytes.
const picture = 1280 * 720 * 3 / 2

// message is bytes.
type message struct {
	data []byte
	keep bool // what is received; else only its size is looked at
	size int
}

// bare is a codec of messages.
type bare struct{}

// Name implements encoding.CodecV2.
func (bare) Name() string { return "bare" }

// Marshal implements encoding.CodecV2.
func (bare) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.(*message).data)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (bare) Unmarshal(data mem.BufferSlice, v any) error {
	m := v.(*message)
	m.size = data.Len()
	if m.keep {
		m.data = data.Materialize()
	}
	return nil
}

type wrapper func(credentials.TransportCredentials) credentials.TransportCredentials

// call returns a stream to a gRPC server whose connections, and the client's, are over TLS that shows both sides' certificates, wrapped. Each message
// that the client sends is answered by answer.
func call(t testing.TB, wrap wrapper, answer func(context.Context, []byte) []byte) grpc.ClientStream {
	t.Helper()
	server, client := configs(t)
	s := grpc.NewServer(grpc.Creds(wrap(credentials.NewTLS(server))), grpc.ForceServerCodecV2(bare{}), grpc.WriteBufferSize(256<<10), grpc.MaxRecvMsgSize(8<<20),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			for {
				m := &message{keep: true}
				if err := stream.RecvMsg(m); err != nil {
					return err
				}
				if err := stream.SendMsg(&message{data: answer(stream.Context(), m.data)}); err != nil {
					return err
				}
			}
		}))
	const congestion = 13                                   // TCP_CONGESTION of tcp(7)
	unpaced := func(_, _ string, c syscall.RawConn) error { // as the gateway listens on this machine
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptString(int(fd), syscall.IPPROTO_TCP, congestion, "reno") })
	}
	l, err := (&net.ListenConfig{Control: unpaced}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-served })
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(wrap(credentials.NewTLS(client))),
		grpc.WithReadBufferSize(256<<10), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bare{}), grpc.MaxCallRecvMsgSize(8<<20)),
		grpc.WithStaticStreamWindowSize(4<<20), grpc.WithStaticConnWindowSize(16<<20))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	t.Cleanup(cancel)
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/a.B/C")
	must(t, err)
	return stream
}

// TestX11_MessagesOverTLSAreWhole sends messages of many sizes through gRPC and back, and asks the server who sent them.
func TestX11_MessagesOverTLSAreWhole(t *testing.T) {
	stream := call(t, Credentials, func(ctx context.Context, b []byte) []byte {
		if p, ok := peer.FromContext(ctx); !ok || len(p.AuthInfo.(credentials.TLSInfo).State.PeerCertificates) != 1 {
			t.Error("the caller's certificate is not known")
		}
		return b
	})
	for _, size := range []int{0, 1, 1000, 16 << 10, 100_000, picture, 1, picture, 4 << 20, picture} {
		b := content(size)
		must(t, stream.SendMsg(&message{data: b}))
		got := &message{keep: true}
		must(t, stream.RecvMsg(got))
		if !bytes.Equal(got.data, b) {
			t.Fatalf("of %d bytes %d came, or others", size, len(got.data))
		}
	}
}

// BenchmarkX11_PictureOverTLS measures what a picture costs over TLS, both ends of a connection.
func BenchmarkX11_PictureOverTLS(b *testing.B) {
	b.Run("gathered", func(b *testing.B) { benchmark(b, Credentials) })
	b.Run("record by record", func(b *testing.B) {
		benchmark(b, func(c credentials.TransportCredentials) credentials.TransportCredentials { return c })
	})
}

func benchmark(b *testing.B, wrap wrapper) {
	one := content(picture)
	stream := call(b, wrap, func(context.Context, []byte) []byte { return one })
	next := func(n int) {
		for range n {
			must(b, stream.SendMsg(&message{data: []byte("x")}))
			must(b, stream.RecvMsg(&message{}))
		}
	}
	next(10)
	before := processor(b)
	b.ResetTimer()
	next(b.N)
	b.StopTimer()
	b.ReportMetric(float64(processor(b)-before)/float64(b.N), "cpu-µs/op")
}

// processor returns how much of a processor this process has used, in microseconds.
func processor(t testing.TB) int64 {
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return (u.Utime.Nano() + u.Stime.Nano()) / 1000
}
