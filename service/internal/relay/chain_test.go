package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-media/penstock/service/internal/identity"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/mem"
)

// chain is a caller, the pod that it calls, and the pod that serves: real gRPC over sockets of loopback.
type chain struct {
	t     testing.TB
	pods  *Pods // of the pod that is called
	owner Pod
	gate  *Gate            // of the pod that serves
	conn  *grpc.ClientConn // of the caller
}

// propagator carries traces and baggage.
func propagator() propagation.TextMapPropagator {
	return propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
}

// newChain starts pods that receive into pool, which may be nil. The one that serves does so by serve, which gets raw messages; the one that is called
// relays every stream to it.
func newChain(t testing.TB, pool mem.BufferPool, serve grpc.StreamHandler) *chain {
	t.Helper()
	keys := keysOf(t, 's')
	c := &chain{t: t, gate: NewGate("owner", keys, nil, nil, slog.New(slog.DiscardHandler))}
	c.owner = Pod{Incarnation: "owner", Address: startServer(t, pool, func(srv any, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		ctx, err := c.gate.Enter(stream.Context(), method)
		if err != nil {
			return err
		}
		return serve(srv, withContext{stream, ctx})
	})}
	c.pods = New(Config{Self: "relay", Keys: keys, Propagator: propagator(), Buffers: pool})
	t.Cleanup(c.pods.Close)
	c.conn = dial(t, pool, startServer(t, pool, c.relay))
	return c
}

// withContext is a stream with another context.
type withContext struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s withContext) Context() context.Context { return s.ctx }

// relay passes a call on, both ways at once.
func (c *chain) relay(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	s, err := c.pods.Open(stream.Context(), c.owner, method, Caller{Identity: identity.Identity{Subject: "anna"}, Address: "192.0.2.1:5"}, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true})
	if err != nil {
		return err
	}
	defer s.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for {
			m := &Message{}
			if stream.RecvMsg(m) != nil {
				m.Free()
				_ = s.CloseSend() // Recv tells
				return
			}
			if s.Send(m) != nil {
				return
			}
		}
	}()
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			<-sent
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.SendMsg(m); err != nil {
			m.Free()
			return err
		}
	}
}

// startServer serves every method by one handler, until the test ends, and returns where.
func startServer(t testing.TB, pool mem.BufferPool, serve grpc.StreamHandler) string {
	t.Helper()
	opts := []grpc.ServerOption{
		grpc.ForceServerCodecV2(Codec(encoding.GetCodecV2(grpcproto.Name))), grpc.UnknownServiceHandler(serve), grpc.MaxRecvMsgSize(64 << 20),
		grpc.WriteBufferSize(256 << 10), // as the service has it
	}
	if pool != nil {
		opts = append(opts, experimental.BufferPool(pool))
	}
	s := grpc.NewServer(opts...)
	const congestion = 13                                        // TCP_CONGESTION of tcp(7)
	unpaced := func(_, _ string, socket syscall.RawConn) error { // as the gateway listens
		return socket.Control(func(fd uintptr) { _ = syscall.SetsockoptString(int(fd), syscall.IPPROTO_TCP, congestion, "reno") })
	}
	l, err := (&net.ListenConfig{Control: unpaced}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		<-served
	})
	return l.Addr().String()
}

// dial returns the connection of a caller, who sends and receives raw messages.
func dial(t testing.TB, pool mem.BufferPool, address string) *grpc.ClientConn {
	t.Helper()
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(Codec(encoding.GetCodecV2(grpcproto.Name))), grpc.MaxCallRecvMsgSize(64<<20)),
	}
	if pool != nil {
		opts = append(opts, experimental.WithBufferPool(pool))
	}
	conn, err := grpc.NewClient("passthrough:///"+address, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// bounded returns a context that ends with the test, or when that hangs.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	t.Cleanup(cancel)
	return ctx
}

// random returns bytes that nothing guesses.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// echo sends back what it gets.
func echo(_ any, stream grpc.ServerStream) error {
	for {
		m := &Message{}
		if err := stream.RecvMsg(m); err != nil {
			m.Free()
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := stream.SendMsg(m); err != nil {
			m.Free()
			return err
		}
	}
}

// await waits until something is so.
func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hang); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
