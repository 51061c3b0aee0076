package whip

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync"
)

// maxKnown bounds the ICE sessions that are remembered.
const maxKnown = 8192

// entityTag names an ICE session: a publication and the publisher's credentials. It follows from the two, so that any
// gateway can check a tag that another one gave out.
func entityTag(resource, ufrag string) string {
	sum := sha256.Sum256([]byte(resource + "\x00" + ufrag))
	return `"` + hex.EncodeToString(sum[:12]) + `"`
}

// iceSessions remembers the latest tag of each publication, so that one which a restart has replaced is refused. It is a
// memory with bounds: of a publication that it has forgotten, or that another gateway took, every tag that fits its
// credentials is accepted, and ICE ignores what is stale. It is safe for concurrent use.
type iceSessions struct {
	mu    sync.Mutex
	tags  map[string]string
	order []string // resources, oldest first
	// restarting are resources whose ICE is restarted at this moment; closed when that is over.
	restarting map[string]chan struct{}
}

// enter waits until nobody else restarts ICE of a resource: the tag that is remembered last is that of the restart that was done
// last. The caller must call leave. Errors: ctx's.
func (s *iceSessions) enter(ctx context.Context, resource string) (leave func(), err error) {
	mine := make(chan struct{})
	for {
		s.mu.Lock()
		other, busy := s.restarting[resource]
		if !busy {
			if s.restarting == nil {
				s.restarting = make(map[string]chan struct{})
			}
			s.restarting[resource] = mine
		}
		s.mu.Unlock()
		if !busy {
			return func() {
				s.mu.Lock()
				delete(s.restarting, resource)
				s.mu.Unlock()
				close(mine)
			}, nil
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *iceSessions) set(resource, tag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tags == nil {
		s.tags = make(map[string]string)
	}
	if _, known := s.tags[resource]; !known {
		s.order = append(s.order, resource)
	}
	s.tags[resource] = tag
	for len(s.order) > maxKnown {
		delete(s.tags, s.order[0])
		s.order = s.order[1:]
	}
}

func (s *iceSessions) get(resource string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tag, ok := s.tags[resource]
	return tag, ok
}

func (s *iceSessions) forget(resource string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.tags[resource]; !known {
		return
	}
	delete(s.tags, resource)
	s.order = slices.DeleteFunc(s.order, func(r string) bool { return r == resource })
}
