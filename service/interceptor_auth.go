package service

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/auth"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/selector"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/penstock-media/penstock/service/internal/relay"
)

// bearerAuth compares a call's bearer token (RFC 6750) with the only one that there is. Digests are compared, so that the
// time taken tells neither the token nor its length.
func bearerAuth(token string) auth.AuthFunc {
	want := sha256.Sum256([]byte(token))
	return func(ctx context.Context) (context.Context, error) {
		for _, v := range metadata.ValueFromIncomingContext(ctx, "authorization") {
			scheme, given, _ := strings.Cut(v, " ")
			got := sha256.Sum256([]byte(given))
			if strings.EqualFold(scheme, "bearer") && subtle.ConstantTimeCompare(want[:], got[:]) == 1 {
				return ctx, nil
			}
		}
		return nil, errUnauthenticated
	}
}

// needsAuth matches all calls but health's, which probes make without credentials, and those that another pod has proved to forward: that one
// has authenticated the caller.
func needsAuth() selector.Matcher {
	return selector.MatchFunc(func(ctx context.Context, c interceptors.CallMeta) bool {
		_, forwarded := relay.Forwarded(ctx)
		return !forwarded && c.Service != healthpb.Health_ServiceDesc.ServiceName
	})
}
