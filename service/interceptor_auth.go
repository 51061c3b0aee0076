package service

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"
	"time"

	middleware "github.com/grpc-ecosystem/go-grpc-middleware/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

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
	if err := p.allows(ok, who, info.FullMethod, req); err != nil {
		return nil, err
	}
	return next(identity.With(ctx, who), req)
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
	if err := p.allows(ok, who, info.FullMethod, nil); err != nil {
		return err
	}
	return next(srv, &authorizedStream{
		ServerStream: &middleware.WrappedServerStream{ServerStream: stream, WrappedContext: identity.With(stream.Context(), who)},
		who:          who, permission: p, method: info.FullMethod,
	})
}

// authorizedStream checks each message received.
type authorizedStream struct {
	grpc.ServerStream
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
	return s.permission.allows(true, s.who, s.method, m)
}

// allows tells whether somebody may make a call, and about the session of a message, if it names one. It is decided before anybody looks whether there
// is such a session.
func (p permission) allows(known bool, who identity.Identity, method string, m any) error {
	if !known {
		return fmt.Errorf("%w: %s is in no table", errForbidden, method)
	}
	if !who.May(p.actions) {
		return fmt.Errorf("%w: %s needs %v", errForbidden, method, p.actions)
	}
	if id, about := sessionOf(m); about && !(p.pods && p.actions == identity.None) && !who.MaySession(id) {
		return fmt.Errorf("%w: %s of that session", errForbidden, method)
	}
	return nil
}

// authenticate returns who calls: of what another pod has forwarded, whom that one has proved. Errors: errUnauthenticated, errExpired.
func (s *Service) authenticate(ctx context.Context) (identity.Identity, error) {
	if f, ok := relay.Forwarded(ctx); ok {
		if f.Caller.Identity.Expired(time.Now()) {
			return identity.Identity{}, errExpired
		}
		return f.Caller.Identity, nil
	}
	return s.authenticateBy(metadata.ValueFromIncomingContext(ctx, "authorization"))
}

// authenticateHTTP returns who made an HTTP request. Errors are those of authenticate.
func (s *Service) authenticateHTTP(r *http.Request) (identity.Identity, error) {
	return s.authenticateBy(r.Header.Values("Authorization"))
}

// authenticateBy returns who shows credentials (RFC 6750).
func (s *Service) authenticateBy(authorization []string) (identity.Identity, error) {
	if s.cfg.Token == "" {
		return identity.Anybody(), nil
	}
	want := sha256.Sum256([]byte(s.cfg.Token))
	for _, v := range authorization {
		scheme, given, _ := strings.Cut(v, " ")
		got := sha256.Sum256([]byte(given))
		if strings.EqualFold(scheme, "bearer") && subtle.ConstantTimeCompare(want[:], got[:]) == 1 {
			return identity.Identity{Subject: tokenSubject, Actions: identity.All}, nil
		}
	}
	return identity.Identity{}, errUnauthenticated
}

// tokenSubject is the identity of everybody who has the only token that there is.
const tokenSubject = "token"
