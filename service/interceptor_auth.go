package service

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	middleware "github.com/grpc-ecosystem/go-grpc-middleware/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/penstock-media/penstock/service/internal/identity"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// authUnary finds out who calls, and whether it may. What comes behind has the identity in the call's context.
func (s *Service) authUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	p, ok := s.permissions[info.FullMethod]
	if ok && p.open {
		return next(ctx, req)
	}
	who, err := s.authenticate(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.allowed(p.allows(ok, who, info.FullMethod, req)); err != nil {
		return nil, err
	}
	ctx, stop := s.untilExpiry(identity.With(ctx, who), who)
	defer stop()
	return next(ctx, req)
}

// authStream does the same for streams: which session it is about is known with the first message.
func (s *Service) authStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	p, ok := s.permissions[info.FullMethod]
	if ok && p.open {
		return next(srv, stream)
	}
	who, err := s.authenticate(stream.Context())
	if err != nil {
		return err
	}
	if srv == nil { // no service has the method: whoever may call is told so
		return next(srv, stream)
	}
	if err := s.allowed(p.allows(ok, who, info.FullMethod, nil)); err != nil {
		return err
	}
	ctx, stop := s.untilExpiry(identity.With(stream.Context(), who), who)
	defer stop()
	return next(srv, &authorizedStream{
		ServerStream: &middleware.WrappedServerStream{ServerStream: stream, WrappedContext: ctx},
		svc:          s, who: who, permission: p, method: info.FullMethod,
	})
}

// allowed counts what is not.
func (s *Service) allowed(err error) error {
	if errors.Is(err, errForbidden) {
		s.counts.forbidden.Add(1)
	}
	return err
}

// authorizedStream checks each message received.
type authorizedStream struct {
	grpc.ServerStream
	svc        *Service
	who        identity.Identity
	permission permission
	method     string
}

// RecvMsg implements grpc.ServerStream.
func (s *authorizedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if s.who.Expired(time.Now()) {
		return errExpired
	}
	return s.svc.allowed(s.permission.allows(true, s.who, s.method, m))
}

// allows tells whether somebody may make a call, and about the session of a message, if it names one. It is decided before anybody looks whether there
// is such a session.
func (p permission) allows(known bool, who identity.Identity, method string, m any) error {
	if !known {
		return fmt.Errorf("%w: %s is in no table", errUnknownMethod, method)
	}
	if !who.May(p.actions) {
		return fmt.Errorf("%w: %s needs %v", errForbidden, method, p.actions)
	}
	if id, about := sessionOf(m); about && !(p.pods && p.actions == identity.None) && !who.MaySession(id) {
		return fmt.Errorf("%w: %s of that session", errForbidden, method)
	}
	return nil
}

// authenticate returns who calls: of what another pod has forwarded, whom that one has proved. Errors: errUnauthenticated, errExpired, errNoKeys, errLimit.
func (s *Service) authenticate(ctx context.Context) (identity.Identity, error) {
	if f, ok := relay.Forwarded(ctx); ok {
		if f.Caller.Identity.Expired(time.Now()) {
			return identity.Identity{}, errExpired
		}
		return f.Caller.Identity, nil
	}
	shown, address := identity.Credentials{Authorization: metadata.ValueFromIncomingContext(ctx, "authorization")}, ""
	if p, ok := peer.FromContext(ctx); ok {
		if p.Addr != nil {
			address = p.Addr.String()
		}
		if t, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			shown.Certificate = s.clientCertificate(&t.State)
		}
	}
	return s.authenticateBy(ctx, address, shown)
}

// authenticateHTTP returns who made an HTTP request. Errors are those of authenticate.
func (s *Service) authenticateHTTP(r *http.Request) (identity.Identity, error) {
	return s.authenticateBy(r.Context(), r.RemoteAddr, identity.Credentials{Authorization: r.Header.Values("Authorization"), Certificate: s.clientCertificate(r.TLS)})
}

// clientCertificate returns the verified certificate of a caller, or nil.
func (s *Service) clientCertificate(state *tls.ConnectionState) *x509.Certificate {
	if state == nil || s.cfg.ClientCertificate == nil {
		return nil
	}
	return s.cfg.ClientCertificate(state)
}

// authenticateBy returns who shows credentials, from an address. Why they are refused is for the log: who guesses is told nothing. Errors: those of authenticate, errLimit.
func (s *Service) authenticateBy(ctx context.Context, address string, shown identity.Credentials) (identity.Identity, error) {
	who, err := s.guesses.check(ctx, address, shown, func(ctx context.Context) (identity.Identity, error) { return s.auth.Authenticate(ctx, shown) })
	switch {
	case err == nil, errors.Is(err, errLimit), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return who, err
	case errors.Is(err, identity.ErrExpired):
		return who, fmt.Errorf("%w: %w", errExpired, err)
	case errors.Is(err, identity.ErrUnavailable):
		return who, fmt.Errorf("%w: %w", errNoKeys, err)
	}
	s.cfg.Logger.DebugContext(ctx, "credentials refused", "fault", identity.Fault(err), "error", err)
	return who, fmt.Errorf("%w: %w", errUnauthenticated, err)
}
