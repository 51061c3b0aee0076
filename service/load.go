package service

import "github.com/penstock-media/penstock/resolverstore"

// tellLoad lets the next heartbeat tell other pods how much this one has to do.
func (s *Service) tellLoad() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loadChanged()
}

// loadChanged does so for who holds the lock.
func (s *Service) loadChanged() {
	s.cfg.Store.SetLoad(resolverstore.Load{
		Sessions: len(s.sessions), MaxSessions: s.cfg.Limits.Sessions, Draining: s.drain.begun(),
	})
}
