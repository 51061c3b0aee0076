package service

import (
	"fmt"
	"sync/atomic"
)

// limiter bounds how many of something there are at one time.
type limiter struct {
	what  string
	limit int64
	n     atomic.Int64
}

// newLimiter returns a limiter without any.
func newLimiter(what string, limit int) *limiter {
	return &limiter{what: what, limit: int64(limit)}
}

// acquire takes one, which the caller must give back by release, or returns errLimit.
func (l *limiter) acquire() error {
	if l.n.Add(1) > l.limit {
		l.n.Add(-1)
		return fmt.Errorf("%w: %d %s", errLimit, l.limit, l.what)
	}
	return nil
}

// release gives one back.
func (l *limiter) release() { l.n.Add(-1) }
