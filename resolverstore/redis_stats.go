package resolverstore

import (
	"sync/atomic"
	"time"
)

// Stats is how a Redis store fares. Counters begin with the store and only grow.
type Stats struct {
	Up    bool      // the last heartbeat succeeded
	Since time.Time // unbroken contact with a server that lost nothing began then, by this machine's clock
	Sure  bool      // see Ownership.Sure

	Pods     int // pods whose leases live, this one among them
	Unproved int // of those, pods whose leases are not proved, so that nobody calls them
	Held     int // sessions whose state is held here
	Owned    int // of those, sessions that this process owns
	Ahead    int // of those, sessions whose newest state is not stored yet

	Failures   uint64 // commands that Redis did not do or answer
	Breaks     uint64 // times that contact was lost
	Losses     uint64 // times that Redis had lost this process's lease, and perhaps all else
	Pauses     uint64 // times that this process was paused for longer than its lease lasts
	Rewritten  uint64 // sessions written again, as Redis had lost them or held junk
	Reconciled uint64 // sessions stored that had changed while Redis was away
	TakenOver  uint64 // sessions that this process took over
	Deposed    uint64 // sessions that another process took over from this one
	Fenced     uint64 // writes refused since the writer owns the session no longer
	Corrupt    uint64 // stored things refused since they cannot be read; each counts once until it changes
}

// storeStats are the counters of Stats.
type storeStats struct {
	failures, breaks, losses, pauses, rewritten, reconciled, takenOver, deposed, fenced, corrupt atomic.Uint64
}

// Stats returns how the store fares. It looks at every session that is held.
func (s *Redis) Stats() Stats {
	c := &s.stats
	out := Stats{
		Sure: s.Sure(), Pods: 1, Failures: c.failures.Load(), Breaks: c.breaks.Load(), Losses: c.losses.Load(), Pauses: c.pauses.Load(),
		Rewritten: c.rewritten.Load(), Reconciled: c.reconciled.Load(), TakenOver: c.takenOver.Load(), Deposed: c.deposed.Load(),
		Fenced: c.fenced.Load(), Corrupt: c.corrupt.Load(),
	}
	out.Since, out.Up = s.Contact()
	s.peers.mu.Lock()
	for _, one := range s.peers.all {
		if one.alive && one.listed {
			out.Pods++
			if one.unproved {
				out.Unproved++
			}
		}
	}
	s.peers.mu.Unlock()
	s.mu.Lock()
	all := make([]*replica, 0, len(s.replicas))
	for _, r := range s.replicas {
		all = append(all, r)
	}
	out.Held, out.Owned = len(all), s.count
	s.mu.Unlock()
	for _, r := range all {
		r.mu.Lock()
		if r.ahead != nil {
			out.Ahead++
		}
		r.mu.Unlock()
	}
	return out
}
