package service

import (
	"context"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// StoreHealth is the service name by which gRPC health tells whether the store that pods share can be reached. The process serves
// without it, so that the other names know nothing of it.
const StoreHealth = "penstock.store"

// storeLook is how often the store is looked at for its health. That costs it nothing.
const storeLook = 250 * time.Millisecond

// shared is a store that pods share, and that may be out of reach.
type shared interface {
	// Contact tells whether it can be reached, and since when.
	Contact() (since time.Time, up bool)
}

// Degraded tells that the store that pods share cannot be reached: what is here goes on, and what needs other pods is refused.
func (s *Service) Degraded() bool {
	store, ok := s.cfg.Store.(shared)
	if !ok {
		return false
	}
	_, up := store.Contact()
	return !up
}

// watchStore keeps health up to date, and counts, until ctx ends.
func (s *Service) watchStore(ctx context.Context) {
	if _, ok := s.cfg.Store.(shared); !ok {
		s.health.SetServingStatus(StoreHealth, healthpb.HealthCheckResponse_SERVING)
		return
	}
	tick := time.NewTicker(storeLook)
	defer tick.Stop()
	before := false
	for {
		lost := s.Degraded()
		status := healthpb.HealthCheckResponse_SERVING
		if lost {
			status = healthpb.HealthCheckResponse_NOT_SERVING
		}
		s.health.SetServingStatus(StoreHealth, status)
		if lost && !before {
			s.counts.storeLost.Add(1)
		}
		before = lost
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
