package service

import (
	"strings"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/stats"

	podv1 "github.com/penstock-media/penstock/api/penstock/pod/v1"
	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

const (
	// maxRequest is the largest request, in bytes. The largest sane one is an offer of 1 MiB.
	maxRequest = 4 << 20
	// writeBuffer is how much goes to the socket in one system call, in bytes. A picture of 720p takes 6 calls instead of 43 with
	// gRPC's 32 KiB, and whole segments of the loopback or of a NIC that segments. gRPC shares it: idle connections hold none.
	writeBuffer = 256 << 10
	// minClientPing is how often a client may ping. Python's default keepalive, once switched on, is 20 s and
	// may be set lower; it must never be answered with GOAWAY.
	minClientPing = 5 * time.Second
)

// NewServer returns a gRPC server of everything that is served: SessionService, TrackService, health (overall and for
// each service) and reflection. More options may be given, such as credentials. The caller serves and stops it, Drain first.
func (s *Service) NewServer(opts ...grpc.ServerOption) *grpc.Server {
	waiting := &arrivals{patience: s.cfg.Limits.RequestTimeout, count: &s.limits.refusals}
	base := []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxHeaderListSize(uint32(s.cfg.Limits.HeaderBytes)),          //nolint:gosec // validated
		grpc.MaxConcurrentStreams(uint32(s.cfg.Limits.ConnectionStreams)), //nolint:gosec // validated
		grpc.ConnectionTimeout(s.cfg.Limits.HandshakeTimeout),
		grpc.InTapHandle(waiting.tap),
		grpc.UnknownServiceHandler(unknownMethod),
		grpc.WriteBufferSize(writeBuffer),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minClientPing, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: s.cfg.PingInterval, Timeout: s.cfg.PingTimeout, MaxConnectionIdle: s.cfg.Limits.ConnectionIdle,
		}),
		grpc.ChainUnaryInterceptor(s.unaryChain()...),
		grpc.ChainStreamInterceptor(s.streamChain()...),
	}
	if s.cfg.TracerProvider != nil {
		base = append(base, grpc.StatsHandler(otelgrpc.NewServerHandler(
			otelgrpc.WithTracerProvider(s.cfg.TracerProvider),
			otelgrpc.WithPropagators(s.cfg.Propagator),
			otelgrpc.WithFilter(shortCall),
		)))
	}
	server := grpc.NewServer(append(base, opts...)...)
	services := registrar{server, &s.limits.refusals}
	penstockv1.RegisterSessionServiceServer(services, &sessionServer{Service: s})
	penstockv1.RegisterTrackServiceServer(services, &trackServer{Service: s})
	podv1.RegisterPodServiceServer(services, &podServer{Service: s})
	healthpb.RegisterHealthServer(services, s.health)
	reflection.Register(server)
	for name := range server.GetServiceInfo() {
		s.health.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}
	return server
}

// unaryChain is the order of interceptors, from the outside in:
//
//  1. recovery: nothing behind it can end the process
//  2. metrics: counts and times what the caller gets, methods that are not served among it
//  3. logging: sees the status that the caller gets
//  4. status: the one place where errors become statuses
//  5. drain: counts what is under way
//  6. proof: what another pod forwards must prove it
//  7. auth: nothing else is looked at before it; what is forwarded was authenticated by the first pod, whose word the proof is
//  8. limits: a place among all calls and its caller's, before more is done for it
//  9. validation: what comes behind sees only requests that are right by themselves
//  10. forward: calls that belong to another pod go there
//  11. payload: replies whose payload rides beside the header
//
// Before them gRPC reads the request's header, within limits of its own, and the request: see arrivals. Telemetry's spans are made by a stats handler, which
// sees what gRPC refuses by itself, too.
func (s *Service) unaryChain() []grpc.UnaryServerInterceptor {
	return []grpc.UnaryServerInterceptor{
		recovery.UnaryServerInterceptor(s.recoveryOption()),
		s.metricsUnary,
		logging.UnaryServerInterceptor(callLogger(s.cfg.Logger), loggingOptions()...),
		s.statusUnary,
		s.drainUnary,
		s.proofUnary,
		s.authUnary,
		s.limitsUnary,
		validationUnary,
		s.forwardUnary,
		payloadUnary,
	}
}

// streamChain is the same for streams, whose handlers forward, and send payloads, themselves.
func (s *Service) streamChain() []grpc.StreamServerInterceptor {
	return []grpc.StreamServerInterceptor{
		recovery.StreamServerInterceptor(s.recoveryOption()),
		s.traceStream,
		s.metricsStream,
		logging.StreamServerInterceptor(callLogger(s.cfg.Logger), loggingOptions()...),
		s.statusStream,
		s.drainStream,
		s.proofStream,
		s.authStream,
		s.limitsStream,
		validationStream,
	}
}

// shortCall tells the calls that get a span of their own. A span as long as a stream would be seen only when the
// stream has ended; those that last have the one of their opening instead (traceStream). Probes of health and who asks what there is tell nothing.
func shortCall(info *stats.RPCTagInfo) bool {
	switch info.FullMethodName {
	case penstockv1.TrackService_StreamTrack_FullMethodName, penstockv1.TrackService_WatchTracks_FullMethodName,
		penstockv1.SessionService_Signal_FullMethodName, healthpb.Health_Watch_FullMethodName, healthpb.Health_Check_FullMethodName:
		return false
	}
	return !strings.HasPrefix(info.FullMethodName, "/grpc.reflection.")
}
