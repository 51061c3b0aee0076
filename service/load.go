package service

import (
	"context"
	"time"

	"github.com/penstock-media/penstock/resolverstore"
)

// loadEvery is how often other pods are told how busy the decoders are. Their heartbeats are no denser.
const loadEvery = time.Second

// tellLoad lets the next heartbeat tell other pods how much this one has to do.
func (s *Service) tellLoad() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loadChanged()
}

// loadChanged does so for who holds the lock.
func (s *Service) loadChanged() {
	l := resolverstore.Load{Sessions: len(s.sessions), MaxSessions: s.cfg.Limits.Sessions, Draining: s.drain.begun()}
	if s.cfg.Busy != nil {
		l.Busy = s.cfg.Busy()
	}
	s.cfg.Store.SetLoad(l)
}

// watchLoad tells how busy the decoders are until ctx ends.
func (s *Service) watchLoad(ctx context.Context) {
	ticker := time.NewTicker(loadEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.tellLoad()
		case <-ctx.Done():
			return
		}
	}
}
