package service

import (
	"context"
	"net"

	middleware "github.com/grpc-ecosystem/go-grpc-middleware/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/penstock-media/penstock/service/internal/identity"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// proofUnary refuses calls that claim to be forwarded and do not prove it, and marks those that do: relay.Forwarded tells.
func (s *Service) proofUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	ctx, err := s.proofs.Enter(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return next(ctx, req)
}

// proofStream does the same for streams.
func (s *Service) proofStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx, err := s.proofs.Enter(stream.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	if ctx == stream.Context() {
		return next(srv, stream)
	}
	return next(srv, &middleware.WrappedServerStream{ServerStream: stream, WrappedContext: ctx})
}

// callerOf returns who made a call: of a forwarded one, what the first pod says.
func (s *Service) callerOf(ctx context.Context) relay.Caller {
	if f, ok := relay.Forwarded(ctx); ok {
		return f.Caller
	}
	var c relay.Caller
	c.Identity, _ = s.whoIs(ctx)
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		if _, _, err := net.SplitHostPort(p.Addr.String()); err == nil {
			c.Address = p.Addr.String()
		}
	}
	return c
}

// whoIs returns who made a call, if that is known; where nobody is asked, it is anybody.
func (s *Service) whoIs(ctx context.Context) (identity.Identity, bool) {
	who, ok := identity.From(ctx)
	if !ok && !s.auth.Asks() {
		return identity.Anybody(), true
	}
	return who, ok
}
