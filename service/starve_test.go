package service

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// TestO4_PublishersAreTheirAddresses: who publishes over WHIP without an identity counts as the address that it comes from, and not as one with all others.
func TestO4_PublishersAreTheirAddresses(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Limits.CallerSessions, c.WHIPCreate = 1, true })
	publish := func(address, id string) error {
		r := httptest.NewRequestWithContext(g.ctx, http.MethodPost, "/whip/"+id, nil)
		r.RemoteAddr = address
		ctx, err := g.svc.AuthorizeWHIP(r, id)
		must(t, err)
		_, _, err = whipSessions{g.svc}.whipSession(ctx, key(id))
		return err
	}
	must(t, publish("192.0.2.1:5", "a"))
	if err := publish("192.0.2.1:6", "b"); !errors.Is(err, errLimit) {
		t.Errorf("a second session: %v", err)
	}
	must(t, publish("192.0.2.2:5", "c"))
	must(t, publish("[2001:db8::1]:5", "d"))
	if err := publish("[2001:db8::2]:5", "e"); !errors.Is(err, errLimit) {
		t.Errorf("a second session from one network: %v", err)
	}
}

// TestO4_NobodyHasAllWatchesOfHealth: they need no credentials, and one caller leaves half of them to others.
func TestO4_NobodyHasAllWatchesOfHealth(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Limits.HealthWatches = 4 })
	watch := func(ctx context.Context, address string) error {
		w, err := healthpb.NewHealthClient(g.dialFrom(address)).Watch(ctx, &healthpb.HealthCheckRequest{})
		must(t, err)
		_, err = w.Recv()
		return err
	}
	ctx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	must(t, watch(ctx, "127.0.0.2"))
	must(t, watch(ctx, "127.0.0.2"))
	wantLimit(t, watch(ctx, "127.0.0.2"), limitCallerHealthWatches, 2)
	must(t, watch(g.ctx, "127.0.0.3"))
	must(t, watch(g.ctx, "127.0.0.4"))
	wantLimit(t, watch(g.ctx, "127.0.0.5"), limitHealthWatches, 4)
	cancel()
	for g.svc.limits.watches.n.Load() > 2 {
		mustTick(t, g)
	}
	must(t, watch(g.ctx, "127.0.0.2")) // what was refused for all took no share
	must(t, watch(g.ctx, "127.0.0.5"))
}

// TestO4_RefusedCallsCostNothing: who floods from many goroutines at once gets what its rate says afterwards, no less.
func TestO4_RefusedCallsCostNothing(t *testing.T) {
	var count refusals
	b := newBuckets(limitCallerRate, 10, 20, &count)
	var now atomic.Pointer[time.Time]
	set := func(at time.Time) { now.Store(&at) }
	b.now = func() time.Time { return *now.Load() }
	begin := time.Unix(1000, 0)
	set(begin)
	flood := func() (took int64) {
		var n atomic.Int64
		var flooding sync.WaitGroup
		for range 8 {
			flooding.Go(func() {
				for range 20_000 {
					if b.take("a") == nil {
						n.Add(1)
					}
				}
			})
		}
		flooding.Wait()
		return n.Load()
	}
	if n := flood(); n != 20 {
		t.Errorf("%d at once, want 20", n)
	}
	set(begin.Add(time.Second))
	if n := flood(); n != 10 {
		t.Errorf("%d after a second, want 10", n)
	}
}
