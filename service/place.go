package service

import (
	"context"
	"fmt"

	"github.com/penstock-media/penstock/resolverstore"
)

// place is where a session is.
type place struct {
	live  *session          // it is here; nil while it is not
	pod   resolverstore.Pod // else it is there
	fence resolverstore.Fence
}

// locate returns where a session is. While its owner is gone it waits for the next one, which may be this process.
func (s *Service) locate(ctx context.Context, id string) (place, error) {
	if v := s.session(id); v != nil {
		return place{live: v, fence: v.fence}, nil
	}
	owner, err := s.cfg.Store.Owner(ctx, key(id), resolverstore.Fence{})
	switch {
	case err != nil:
		return place{}, fmt.Errorf("looking for session %q: %w", id, err)
	case owner.Session.State == resolverstore.SessionEnded, owner.Pod.Incarnation == s.cfg.Owner:
		// Ended, or about to be opened or ended by a call that runs at this moment.
		return place{}, fmt.Errorf("session %q, state %d: %w", id, owner.Session.State, resolverstore.ErrSessionEnded)
	}
	return place{pod: owner.Pod, fence: owner.Session.Fence}, nil
}
