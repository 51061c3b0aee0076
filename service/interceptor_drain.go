package service

import (
	"context"

	middleware "github.com/grpc-ecosystem/go-grpc-middleware/v2"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// drainUnary counts the calls that are under way: a drain goes on as long as there are any and its grace is not over.
func (s *Service) drainUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	s.calls.Add(1)
	defer s.callOver()
	return next(ctx, req)
}

// drainStream does the same for streams. Those who watch health would never end by themselves, and their handler knows no drain: they do not count, and are ended
// with it, since the server's GracefulStop waits for them.
func (s *Service) drainStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if info.FullMethod != healthpb.Health_Watch_FullMethodName {
		s.calls.Add(1)
		defer s.callOver()
		return next(srv, stream)
	}
	ctx, stop := s.drain.bound(stream.Context())
	defer stop()
	err := next(srv, &middleware.WrappedServerStream{ServerStream: stream, WrappedContext: ctx})
	if s.drain.over.Err() != nil {
		return errDraining
	}
	return err
}

// callOver takes note that a call is over.
func (s *Service) callOver() {
	s.calls.Add(-1)
	s.lessened()
}
