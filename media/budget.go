package media

import (
	"sync"
	"sync/atomic"
)

// queueBudget bounds what the queues of all consumers hold together. When it is exceeded the longest queue gives up frames first, so
// that who reads keeps what is his.
type queueBudget struct {
	limit int64 // bytes; 0 is no limit
	used  atomic.Int64
	drops atomic.Uint64 // frames that were given up

	mu      sync.Mutex // before any consumer's
	members map[*Consumer]struct{}
	frames  [KindVideo + 1]uint64 // made for those that have left
	lost    gaveUp                // of those
}

func (b *queueBudget) join(c *Consumer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.members[c] = struct{}{}
}

// leave takes a consumer out that is closed, so that it counts no more.
func (b *queueBudget) leave(c *Consumer) {
	_, _, made, gave := c.account()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.members, c)
	b.frames[c.track.cfg.Kind] += made
	b.lost.add(gave)
}

// relieve makes the longest queues shorter until the limit is kept. It must be called without the lock of any consumer.
func (b *queueBudget) relieve() {
	if b.limit == 0 || b.used.Load() <= b.limit {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for over := b.used.Load() - b.limit; over > 0; over = b.used.Load() - b.limit {
		var longest *Consumer
		most, second := int64(0), int64(0)
		for c := range b.members {
			switch n := c.held.Load(); {
			case n > most:
				longest, most, second = c, n, most
			case n > second:
				second = n
			}
		}
		if longest == nil {
			return
		}
		b.drops.Add(longest.giveUp(min(over, most-second+1)))
	}
}
