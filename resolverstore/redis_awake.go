package resolverstore

import (
	"context"
	"sync"
	"time"
)

// awake tells whether the process runs. One that was paused (SIGSTOP, a frozen machine) for longer than its lease lasts may have lost its
// sessions to others, and is the last to know.
type awake struct {
	mu     sync.Mutex
	last   time.Time     // when the process was last known to run
	doubts uint64        // counts what asks for sessions to be looked at
	sure   chan struct{} // not nil while sessions are looked at again after a pause; closed then
}

// Sure implements Ownership.
func (s *Redis) Sure() bool {
	a := &s.awake
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sure == nil && time.Since(a.last) <= s.cfg.LeaseTTL
}

// Recheck implements Ownership.
func (s *Redis) Recheck(ctx context.Context) error {
	for {
		s.wake(time.Now())
		s.awake.mu.Lock()
		sure := s.awake.sure
		s.awake.mu.Unlock()
		if sure == nil {
			return nil
		}
		select {
		case <-sure:
		case <-s.done:
			return ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// wakes notices pauses, until the store is closed.
func (s *Redis) wakes() {
	ticker := time.NewTicker(max(s.cfg.LeaseTTL/4, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-ticker.C:
			s.wake(time.Now())
		}
	}
}

// wake notes that the process runs. After a pause it begins to look at all sessions again.
func (s *Redis) wake(now time.Time) {
	if paused := s.noteRuns(now); paused > s.cfg.LeaseTTL {
		s.cfg.Logger.Warn("this process was paused for longer than its lease lasts: looking at every session", "paused", paused)
	}
}

// noteRuns is wake, and returns how long the process was not known to run.
func (s *Redis) noteRuns(now time.Time) (paused time.Duration) {
	a := &s.awake
	a.mu.Lock()
	defer a.mu.Unlock()
	paused = now.Sub(a.last)
	if paused > 0 {
		a.last = now
	}
	if paused > s.cfg.LeaseTTL {
		s.stats.pauses.Add(1)
		s.pulse.breakContact()
		s.doubtAll()
	}
	return paused
}

// unsure begins to look at all sessions again, as after a pause.
func (s *Redis) unsure() {
	s.awake.mu.Lock()
	defer s.awake.mu.Unlock()
	s.doubtAll()
}

// doubtAll begins to look at all sessions again. The caller holds awake.mu.
func (s *Redis) doubtAll() {
	a := &s.awake
	a.doubts++
	if a.sure == nil && s.enter() {
		a.sure = make(chan struct{})
		go func() {
			defer s.leave()
			s.recheck()
		}()
	}
}

// recheck looks at all sessions that this process owns, again and again until that was done once without another doubt.
func (s *Redis) recheck() {
	for {
		s.awake.mu.Lock()
		doubts := s.awake.doubts
		s.awake.mu.Unlock()
		if !s.recheckOnce() {
			if !s.pause(s.cfg.Heartbeat / 4) {
				return
			}
			continue
		}
		s.awake.mu.Lock()
		if s.awake.doubts == doubts {
			close(s.awake.sure)
			s.awake.sure = nil
			s.awake.mu.Unlock()
			return
		}
		s.awake.mu.Unlock()
	}
}

// recheckOnce reads all sessions that this process owns. It reports whether it could.
func (s *Redis) recheckOnce() bool {
	if s.reachable() != nil {
		return false
	}
	s.mu.Lock()
	var all []*replica
	for _, r := range s.replicas {
		if r.owned {
			all = append(all, r)
		}
	}
	s.mu.Unlock()
	for len(all) > 0 {
		n := min(len(all), refreshAtOnce)
		if s.refresh.read(all[:n]) {
			return false
		}
		all = all[n:]
	}
	return true
}
