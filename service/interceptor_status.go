package service

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// statusUnary turns whatever a handler or a later interceptor returns into a status with details.
func (s *Service) statusUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	if err != nil {
		return nil, s.statusError(ctx, info.FullMethod, err)
	}
	return resp, nil
}

// statusStream does the same for streams, and for what they receive.
func (s *Service) statusStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := next(srv, arrivingStream{stream, &s.limits.refusals}); err != nil {
		return s.statusError(stream.Context(), info.FullMethod, err)
	}
	return nil
}

// statusError returns an error's status. What is a status already (health's, reflection's, the transport's) stays. A fault of
// the gateway is logged here with its cause, which the caller does not get to see.
func (s *Service) statusError(ctx context.Context, method string, err error) error {
	var own *failure
	var done interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &own) && errors.As(err, &done) {
		return err
	}
	f := classify(err)
	switch f.reason {
	case penstockv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED:
		s.counts.unauthenticated.Add(1)
	case penstockv1.ErrorReason_ERROR_REASON_INTERNAL:
		s.cfg.Logger.ErrorContext(ctx, "call failed", "method", method, "error", err)
	}
	return f.status().Err()
}
