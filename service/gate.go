package service

import (
	"context"
	"sync"
)

// gate lets one caller at a time through for each id, so that a session is created, opened and deleted in turn while
// those of other ids go on.
type gate struct {
	mu   sync.Mutex
	busy map[string]chan struct{} // closed when the id is free
}

// enter waits for its turn. The caller must call leave.
func (g *gate) enter(ctx context.Context, id string) (leave func(), err error) {
	for {
		g.mu.Lock()
		turn, taken := g.busy[id]
		if !taken {
			mine := make(chan struct{})
			if g.busy == nil {
				g.busy = make(map[string]chan struct{})
			}
			g.busy[id] = mine
			g.mu.Unlock()
			return func() { g.free(id, mine) }, nil
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
func (g *gate) free(id string, mine chan struct{}) {
	g.mu.Lock()
	delete(g.busy, id)
	g.mu.Unlock()
	close(mine)
}
