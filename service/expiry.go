package service

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/service/internal/identity"
)

// expiry is the end of a caller's credentials, as far as one call is concerned.
type expiry struct {
	at   time.Time
	soon context.Context // ends a while before
}

// expiryKey is the context key of an *expiry.
type expiryKey struct{}

// untilExpiry returns a context of a call that ends with the cause errExpired when the caller's credentials do, and knows a while before. The caller must call the
// function returned.
func (s *Service) untilExpiry(ctx context.Context, who identity.Identity) (context.Context, func()) {
	if who.Expires.IsZero() {
		return ctx, func() {}
	}
	left := time.Until(who.Expires)
	soon, warn := context.WithCancel(ctx)
	out, end := context.WithCancelCause(context.WithValue(ctx, expiryKey{}, &expiry{at: who.Expires, soon: soon}))
	warning := time.AfterFunc(left-min(s.cfg.ExpiryWarning, left/2), warn)
	over := time.AfterFunc(left, func() {
		s.counts.expired.Add(1)
		end(errExpired)
	})
	return out, func() {
		warning.Stop()
		over.Stop()
		warn()
		end(context.Canceled)
	}
}

// expiring returns a channel that is closed when the caller's credentials are about to expire; nil where they do not, or where that is not this pod's to tell: a call that
// was forwarded is ended and warned of by the first pod.
func expiring(ctx context.Context) <-chan struct{} {
	e, ok := ctx.Value(expiryKey{}).(*expiry)
	if !ok || wasForwarded(ctx) {
		return nil
	}
	return e.soon.Done()
}

// whenExpiring calls f when expiring is closed, in a goroutine of its own. The caller must call the function returned.
func whenExpiring(ctx context.Context, f func()) (stop func() bool) {
	e, ok := ctx.Value(expiryKey{}).(*expiry)
	if !ok || wasForwarded(ctx) {
		return func() bool { return false }
	}
	return context.AfterFunc(e.soon, f)
}

// expiresIn returns how long the caller's credentials are still good, as callers are told, and whether it is time to tell.
func expiresIn(ctx context.Context) (left *durationpb.Duration, soon bool) {
	e, ok := ctx.Value(expiryKey{}).(*expiry)
	if !ok || e.soon.Err() == nil || ctx.Err() != nil || wasForwarded(ctx) {
		return nil, false
	}
	return durationpb.New(max(time.Until(e.at), 0)), true
}

// protoExpiring says so in a conversation.
func protoExpiring(left *durationpb.Duration) *penstockv1.SignalResponse {
	return &penstockv1.SignalResponse{Message: &penstockv1.SignalResponse_CredentialsExpiring{
		CredentialsExpiring: &penstockv1.SignalCredentialsExpiring{In: left},
	}}
}
