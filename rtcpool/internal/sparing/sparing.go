// Package sparing keeps what may happen with every packet from filling the log: of each kind of fault one a second is logged, with the number of
// those that were left out.
package sparing

import (
	"sync"
	"time"
)

// Interval is how far apart two records of one kind are at least.
const Interval = time.Second

// Log counts faults by kind. The zero value is ready. It is safe for concurrent use. Kinds must be few, as constants of the program are: they are remembered.
type Log struct {
	mu    sync.Mutex
	kinds map[string]*kind
}

type kind struct {
	last    time.Time
	leftOut int
}

// Admit tells whether a fault is to be logged, and how many of its kind were not since the last one that was.
func (l *Log) Admit(name string, now time.Time) (leftOut int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kinds[name]
	if k == nil {
		if l.kinds == nil {
			l.kinds = make(map[string]*kind)
		}
		k = &kind{}
		l.kinds[name] = k
	}
	if !k.last.IsZero() && now.Sub(k.last) < Interval {
		k.leftOut++
		return 0, false
	}
	leftOut = k.leftOut
	k.last, k.leftOut = now, 0
	return leftOut, true
}
