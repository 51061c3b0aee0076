package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	"google.golang.org/grpc/peer"

	"github.com/penstock-media/penstock/connector/whip"
	"github.com/penstock-media/penstock/service/internal/identity"
)

// AuthorizeWHIP implements whip.Config.Authorize: to publish into a session, and all that follows, is to signal for it. The context returned has
// who it is and its address.
func (s *Service) AuthorizeWHIP(r *http.Request, session string) (context.Context, error) {
	who, err := s.authenticateHTTP(r)
	switch {
	case errors.Is(err, errUnauthenticated), errors.Is(err, errExpired):
		return nil, fmt.Errorf("%w: %w", whip.ErrUnauthorized, err)
	case errors.Is(err, errLimit):
		return nil, fmt.Errorf("%w: %w", whip.ErrTooMany, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", whip.ErrUnavailable, err)
	case !who.May(identity.Signal) || !who.MaySession(session):
		return nil, s.allowed(fmt.Errorf("%w: %w", whip.ErrForbidden, errForbidden))
	}
	ctx := identity.With(r.Context(), who)
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil { // as of a call of gRPC, for limits
		ctx = peer.NewContext(ctx, &peer.Peer{Addr: net.TCPAddrFromAddrPort(at)})
	}
	return ctx, nil
}
