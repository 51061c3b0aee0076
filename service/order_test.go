package service

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// chained serves a gateway's handlers behind chains that a test made, and returns a connection.
func (g *gateway) chained(unary []grpc.UnaryServerInterceptor, stream []grpc.StreamServerInterceptor) *grpc.ClientConn {
	g.t.Helper()
	server := grpc.NewServer(grpc.ForceServerCodecV2(newCodec()), grpc.ChainUnaryInterceptor(unary...), grpc.ChainStreamInterceptor(stream...))
	penstockv1.RegisterSessionServiceServer(server, &sessionServer{Service: g.svc})
	penstockv1.RegisterTrackServiceServer(server, &trackServer{Service: g.svc})
	l, err := new(net.ListenConfig).Listen(g.t.Context(), "tcp", "127.0.0.1:0")
	must(g.t, err)
	stop := serving(g.t, server, l)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(g.t, err)
	g.t.Cleanup(func() {
		must(g.t, conn.Close())
		stop()
	})
	return conn
}

// TestPanicsAreCaughtAtEveryStage puts a stage that panics between any two of both chains: the caller gets INTERNAL and nothing of the cause, it is logged and counted,
// as a call and as an error that an alert is about, and no place stays taken.
func TestPanicsAreCaughtAtEveryStage(t *testing.T) {
	told := newGauge(t)
	g := startGateway(t, func(c *Config) { c.Metrics = told.set })
	g.create("call")
	unary, stream := g.svc.unaryChain(), g.svc.streamChain()
	for i := 1; i <= len(unary); i++ { // behind the first, which catches
		chain := append(append(append([]grpc.UnaryServerInterceptor{}, unary[:i]...),
			func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) { panic("a fault") }), unary[i:]...)
		before := g.svc.Stats().Panics
		_, err := penstockv1.NewSessionServiceClient(g.chained(chain, nil)).GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: "call"})
		st := wantStatus(t, err, codes.Internal, "INTERNAL")
		if strings.Contains(st.Message(), "fault") || g.svc.Stats().Panics != before+1 {
			t.Errorf("behind stage %d: %q, %d counted", i, st.Message(), g.svc.Stats().Panics-before)
		}
	}
	for i := 1; i <= len(stream); i++ {
		chain := append(append(append([]grpc.StreamServerInterceptor{}, stream[:i]...),
			func(any, grpc.ServerStream, *grpc.StreamServerInfo, grpc.StreamHandler) error { panic("a fault") }), stream[i:]...)
		before := g.svc.Stats().Panics
		w, err := penstockv1.NewTrackServiceClient(g.chained(nil, chain)).WatchTracks(g.ctx, &penstockv1.WatchTracksRequest{SessionId: "call"})
		must(t, err)
		_, err = w.Recv()
		wantStatus(t, err, codes.Internal, "INTERNAL")
		if g.svc.Stats().Panics != before+1 {
			t.Errorf("of streams, behind stage %d: %d counted", i, g.svc.Stats().Panics-before)
		}
	}
	g.idle()
	if n := g.svc.calls.Load(); n != 0 {
		t.Errorf("%d calls count as under way", n)
	}
	counted := len(unary) + len(stream) - 3 // those behind the stage of metrics, which is the second, and the third of streams
	if n := told.figures(t)["penstock_errors_total{reason=internal}"]; n != float64(counted) {
		t.Errorf("%v errors are counted, want %d", n, counted)
	}
}

// TestStagesComeInOrder makes calls that several stages would refuse: the outer one does, for unary calls and for streams alike.
func TestStagesComeInOrder(t *testing.T) {
	g := startGateway(t, func(c *Config) {
		c.Token = "secret"
		c.Limits = Limits{CallerRate: 1, CallerBurst: 1}
	})
	authorized := metadata.AppendToOutgoingContext(g.ctx, "authorization", "Bearer secret")
	forged := metadata.AppendToOutgoingContext(g.ctx, "penstock-forward", "forged")
	wrong := map[string]func(ctx context.Context) error{ // nothing is right about their requests
		"unary": func(ctx context.Context) error {
			_, err := g.sessions.GetSession(ctx, &penstockv1.GetSessionRequest{})
			return err
		},
		"stream": func(ctx context.Context) error {
			w, err := g.tracks.WatchTracks(ctx, &penstockv1.WatchTracksRequest{})
			if err == nil {
				_, err = w.Recv()
			}
			return err
		},
		"conversation": func(ctx context.Context) error {
			s, err := g.sessions.Signal(ctx)
			if err == nil {
				_ = s.Send(&penstockv1.SignalRequest{}) // it may be refused already
				_, err = s.Recv()
			}
			return err
		},
		"unknown method": func(ctx context.Context) error {
			return g.conn.Invoke(ctx, "/penstock.v1.SessionService/NoSuchMethod", &penstockv1.GetSessionRequest{}, &penstockv1.GetSessionResponse{})
		},
	}
	refusals := uint64(0)
	for name, call := range wrong {
		t.Run(name, func(t *testing.T) {
			wantStatus(t, call(forged), codes.PermissionDenied, "FORWARD_REFUSED") // proof before auth
			before := g.svc.Stats().Unauthenticated
			wantStatus(t, call(g.ctx), codes.Unauthenticated, "UNAUTHENTICATED") // auth before limits and validation
			if g.svc.Stats().Unauthenticated != before+1 {
				t.Error("it is not counted")
			}
			if g.refused(limitCallerRate) != refusals {
				t.Error("a stranger uses up what callers may take")
			}
			for g.refused(limitCallerRate) == refusals { // a bucket of one
				if err := call(authorized); status.Code(err) == codes.ResourceExhausted {
					wantLimit(t, err, limitCallerRate, 1) // limits before validation
				}
			}
			refusals = g.refused(limitCallerRate)
		})
	}
	g.idle()
}

// TestO11_WhatIsWrongBeforeTheChain: a message that is none, and one that is too large, for unary calls and streams.
func TestO11_WhatIsWrongBeforeTheChain(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	junk := rawBytes("\xff\xff\xff")
	unary := func(message rawBytes) error {
		var out rawBytes
		return g.conn.Invoke(g.ctx, penstockv1.SessionService_GetSession_FullMethodName, &message, &out, grpc.ForceCodec(rawCodec{}))
	}
	stream := func(method string, message rawBytes) error {
		s, err := g.conn.NewStream(g.ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, grpc.ForceCodec(rawCodec{}))
		must(t, err)
		if err := s.SendMsg(&message); err != nil {
			t.Logf("sending: %v", err) // it is refused already
		}
		must(t, s.CloseSend())
		var out rawBytes
		return s.RecvMsg(&out)
	}
	wantStatus(t, unary(junk), codes.InvalidArgument, "MALFORMED_REQUEST")
	wantStatus(t, stream(penstockv1.TrackService_WatchTracks_FullMethodName, junk), codes.InvalidArgument, "MALFORMED_REQUEST")
	wantStatus(t, stream(penstockv1.SessionService_Signal_FullMethodName, junk), codes.InvalidArgument, "MALFORMED_REQUEST")
	large := rawBytes(strings.Repeat("x", maxRequest+1))
	for name, err := range map[string]error{ // gRPC's own answer, without a reason, in which the sizes are: docs/errors.md
		"unary": unary(large), "stream": stream(penstockv1.TrackService_StreamTrack_FullMethodName, large),
		"conversation": stream(penstockv1.SessionService_Signal_FullMethodName, large),
	} {
		if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), fmt.Sprint(maxRequest)) {
			t.Errorf("%s: a large request gives %v", name, err)
		}
	}
	g.session("call")
}

// rawBytes is a message as it goes over the line.
type rawBytes []byte

// rawCodec sends bytes as they are.
type rawCodec struct{}

// Marshal implements encoding.Codec.
func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*rawBytes), nil } //nolint:forcetypeassert // nothing else is sent

// Unmarshal implements encoding.Codec.
func (rawCodec) Unmarshal(b []byte, v any) error {
	out, ok := v.(*rawBytes)
	if !ok {
		return fmt.Errorf("a %T", v)
	}
	*out = append(rawBytes{}, b...)
	return nil
}

// Name implements encoding.Codec.
func (rawCodec) Name() string { return "proto" }
