package relay

import (
	"sync"
	"time"
)

const (
	// remembered is how long a proof is remembered at least: as long as it would be taken, if it came from the latest time that is.
	remembered = 2 * window
	// mostUsed bounds how many proofs are remembered, in each of two halves. Where more than so many calls are forwarded to a pod within remembered,
	// it forgets the oldest sooner.
	mostUsed = 1 << 16
)

// used remembers what was used once already, by names that are random. The zero value is ready. It is safe for concurrent use.
type used struct {
	mu          sync.Mutex
	now, before map[string]struct{}
	began       time.Time // when now did
}

// first tells whether a name is new, and remembers it.
func (u *used) first(name string, at time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.now == nil || at.Sub(u.began) > remembered || len(u.now) >= mostUsed {
		u.before, u.now, u.began = u.now, make(map[string]struct{}), at
	}
	_, a := u.now[name]
	_, b := u.before[name]
	if a || b {
		return false
	}
	u.now[name] = struct{}{}
	return true
}
