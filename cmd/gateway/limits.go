package main

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
	"github.com/penstock-media/penstock/cmd/gateway/internal/connlimit"
	"github.com/penstock-media/penstock/service"
	"github.com/penstock-media/penstock/service/metrics"
)

// limitsOf gives the settings that bound callers to the service.
func limitsOf(c *config.Config) service.Limits {
	return service.Limits{
		Sessions: c.MaxSessions, CallerSessions: c.MaxSessionsPerCaller, Streams: c.MaxStreams, CallerStreams: c.MaxStreamsPerCaller,
		Calls: c.MaxCalls, CallerCalls: c.MaxCallsPerCaller, CallerRate: c.CallerRate, CallerBurst: c.CallerBurst,
		SignalRate: c.SignalRate, SignalBurst: c.SignalBurst, WHIPRate: c.WHIPRate, WHIPBurst: c.WHIPBurst,
		FailedAuthRate: c.FailedAuthRate, FailedAuthBurst: c.FailedAuthBurst,
		HealthWatches: c.MaxHealthWatches, Consumers: c.MaxConsumersPerTrack, Media: c.MaxMediaPerSession, QueueBytes: c.MaxQueueBytes,
		ConnectionStreams: c.MaxConnectionStreams, HeaderBytes: c.MaxHeaderBytes, ConnectionIdle: c.ConnectionIdle, RequestTimeout: c.RequestTimeout, HandshakeTimeout: c.HandshakeTimeout,
	}
}

// limited bounds the connections of a listener.
func limited(l net.Listener, c *config.Config) *connlimit.Listener {
	return connlimit.New(l, connlimit.Limits{Total: c.MaxConnections, PerAddress: c.MaxConnectionsPerAddress})
}

// observeConnections tells what became of the connections of all listeners.
func (g *gateway) observeConnections(o *metrics.Observer) {
	all := maps.Clone(g.aside)
	all["grpc"], all["http"] = g.grpcListener, g.httpListener
	for name, l := range all {
		st := l.Stats()
		o.Observe("penstock_connections", float64(st.Open), name)
		o.Observe("penstock_limit_refusals_total", float64(st.RefusedTotal), name+"_connections")
		o.Observe("penstock_limit_refusals_total", float64(st.RefusedByAddr), name+"_address_connections")
	}
}

// limitWHIP refuses requests that are too many with 429 and a problem document (RFC 6585 section 4, RFC 9457).
func limitWHIP(take func(address string) error, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := take(r.RemoteAddr)
		if err == nil {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Retry-After", strconv.Itoa(secondsUntil(err)))
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusTooManyRequests)
		_ = json.NewEncoder(w).Encode(map[string]any{ // the client may be gone
			"type": "about:blank", "title": http.StatusText(http.StatusTooManyRequests), "status": http.StatusTooManyRequests,
			"detail": "too many requests from this address; try again after the time in Retry-After", "reason": "LIMIT_REACHED", "limit": "whip_rate", "setting": "whip-rate",
		})
	})
}

// secondsUntil returns after how many seconds a refused request may be made again: 1 at least.
func secondsUntil(err error) int {
	var hint interface{ RetryAfter() time.Duration }
	if !errors.As(err, &hint) {
		return 1
	}
	return max(1, int(math.Ceil(hint.RetryAfter().Seconds())))
}
