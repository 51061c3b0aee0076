package service

import (
	"context"

	"google.golang.org/grpc"
)

// validationUnary refuses requests that are wrong by themselves, before any handler sees them.
func validationUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if fault := arrivalOf(ctx).fault; fault != nil {
		return nil, undecodable(fault)
	}
	if err := validate(req); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

// validationStream does the same for what a stream receives.
func validationStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	return next(srv, validatedStream{stream})
}

// validatedStream checks each message received.
type validatedStream struct{ grpc.ServerStream }

// RecvMsg implements grpc.ServerStream.
func (s validatedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return validate(m)
}
