package service

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// statusUnary turns whatever a handler or a later interceptor returns into a status with details.
func statusUnary(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		resp, err := next(ctx, req)
		if err != nil {
			return nil, statusError(ctx, log, info.FullMethod, err)
		}
		return resp, nil
	}
}

// statusStream does the same for streams.
func statusStream(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		if err := next(srv, stream); err != nil {
			return statusError(stream.Context(), log, info.FullMethod, err)
		}
		return nil
	}
}

// statusError returns an error's status. What is a status already (health's, reflection's, the transport's) stays. A fault of
// the gateway is logged here with its cause, which the caller does not get to see.
func statusError(ctx context.Context, log *slog.Logger, method string, err error) error {
	var own *failure
	var done interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &own) && errors.As(err, &done) {
		return err
	}
	f := classify(err)
	if f.reason == penstockv1.ErrorReason_ERROR_REASON_INTERNAL {
		log.ErrorContext(ctx, "call failed", "method", method, "error", err)
	}
	return f.status().Err()
}
