package service

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/service/internal/identity"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// callLimits bounds calls, in all and by caller. It is safe for concurrent use.
type callLimits struct {
	refusals    refusals
	rate        *buckets
	health      *buckets // a rate of its own: nobody's calls use up what probes from the same address need
	whip        *buckets
	calls       *limiter
	callerCalls *shares
	streams     *shares // of callers
	sessions    *shares // of callers
	watches     *limiter
	watchers    *shares
}

// newCallLimits returns limits of which nothing is used.
func newCallLimits(cfg Limits) *callLimits {
	l := &callLimits{}
	l.rate = newBuckets(limitCallerRate, cfg.CallerRate, cfg.CallerBurst, &l.refusals)
	l.health = newBuckets(limitCallerRate, cfg.CallerRate, cfg.CallerBurst, &l.refusals)
	l.whip = newBuckets(limitWHIPRate, cfg.WHIPRate, cfg.WHIPBurst, &l.refusals)
	l.calls = newLimiter(limitCalls, cfg.Calls, &l.refusals)
	l.callerCalls = newShares(limitCallerCalls, cfg.CallerCalls, &l.refusals)
	l.streams = newShares(limitCallerStreams, cfg.CallerStreams, &l.refusals)
	l.sessions = newShares(limitCallerSessions, cfg.CallerSessions, &l.refusals)
	l.watches = newLimiter(limitHealthWatches, cfg.HealthWatches, &l.refusals)
	l.watchers = newShares(limitCallerHealthWatches, (cfg.HealthWatches+1)/2, &l.refusals)
	return l
}

// limitsUnary takes a call's place before it is looked at any closer. What another pod forwards was counted there, and counts here only as one of all.
func (s *Service) limitsUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	release, err := s.limits.enter(ctx, info.FullMethod, s.callerKey(ctx))
	if err != nil {
		return nil, err
	}
	defer release()
	return next(ctx, req)
}

// limitsStream does the same for streams.
func (s *Service) limitsStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	release, err := s.limits.enter(stream.Context(), info.FullMethod, s.callerKey(stream.Context()))
	if err != nil {
		return err
	}
	defer release()
	return next(srv, stream)
}

// enter takes a call's place, which must be given back by release, or returns errLimit.
func (l *callLimits) enter(ctx context.Context, method, caller string) (release func(), err error) {
	switch method {
	case healthpb.Health_Check_FullMethodName, healthpb.Health_List_FullMethodName:
		return func() {}, l.health.take(caller)
	case healthpb.Health_Watch_FullMethodName:
		return l.enterWatch(caller)
	}
	if err := l.calls.acquire(); err != nil {
		return nil, err
	}
	if _, forwarded := relay.Forwarded(ctx); forwarded {
		return l.calls.release, nil
	}
	leave, err := l.enterCaller(method, caller)
	if err != nil {
		l.calls.release()
		return nil, err
	}
	return func() { leave(); l.calls.release() }, nil
}

// enterWatch takes the place of a call that watches health. It needs no credentials, so that nobody may have all of them.
func (l *callLimits) enterWatch(caller string) (release func(), err error) {
	leave, err := l.watchers.acquire(caller)
	if err != nil {
		return nil, err
	}
	if err := l.watches.acquire(); err != nil {
		leave()
		return nil, err
	}
	return func() { leave(); l.watches.release() }, nil
}

// enterCaller takes a call's place among those of its caller.
func (l *callLimits) enterCaller(method, caller string) (release func(), err error) {
	if err := l.rate.take(caller); err != nil {
		return nil, err
	}
	call, err := l.callerCalls.acquire(caller)
	if err != nil || !isStream(method) {
		return call, err
	}
	stream, err := l.streams.acquire(caller)
	if err != nil {
		call()
		return nil, err
	}
	return func() { stream(); call() }, nil
}

// isStream tells the calls that hold media, a conversation or a watch for as long as they last.
func isStream(method string) bool {
	switch method {
	case penstockv1.TrackService_StreamTrack_FullMethodName, penstockv1.TrackService_GetFrame_FullMethodName,
		penstockv1.TrackService_WatchTracks_FullMethodName, penstockv1.SessionService_Signal_FullMethodName:
		return true
	}
	return false
}

// callerKey names who makes a call, for limits: the identity, or the address of a caller without one. All who share the only token are told apart by
// their addresses.
func (s *Service) callerKey(ctx context.Context) string {
	c := s.callerOf(ctx)
	if who := c.Identity; who.Subject != "" && who.Subject != identity.TokenSubject {
		return fmt.Sprintf("identity %q %q", who.Tenant, who.Subject)
	}
	return "address " + addressKey(c.Address)
}

// addressKey names who is at an address: an IPv4 address, or a network of IPv6 of the size that one customer gets (RFC 6177).
func addressKey(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "" // of a socket without one
	}
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		if network, err := ip.Prefix(64); err == nil {
			return network.String()
		}
	}
	return ip.String()
}

// LimitWHIP takes note of a WHIP request, and tells whether its caller makes too many: an error with a method RetryAfter.
func (s *Service) LimitWHIP(address string) error {
	return s.limits.whip.take("address " + addressKey(address))
}
