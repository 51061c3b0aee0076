package service

import (
	"context"
	"sync"

	"github.com/penstock-media/penstock/resolverstore"
)

// gate lets one caller at a time through for each key, so that a session is created, opened and deleted in turn while
// those of other keys go on.
type gate struct {
	mu   sync.Mutex
	busy map[resolverstore.SessionKey]chan struct{} // closed when the key is free
}

// enter waits for its turn. The caller must call leave.
func (g *gate) enter(ctx context.Context, k resolverstore.SessionKey) (leave func(), err error) {
	for {
		g.mu.Lock()
		turn, taken := g.busy[k]
		if !taken {
			mine := make(chan struct{})
			if g.busy == nil {
				g.busy = make(map[resolverstore.SessionKey]chan struct{})
			}
			g.busy[k] = mine
			g.mu.Unlock()
			return func() { g.free(k, mine) }, nil
		}
		g.mu.Unlock()
		select {
		case <-turn:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// free ends a turn.
func (g *gate) free(k resolverstore.SessionKey, mine chan struct{}) {
	g.mu.Lock()
	delete(g.busy, k)
	g.mu.Unlock()
	close(mine)
}
