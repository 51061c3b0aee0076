package resolverstore

import (
	"context"
	"maps"
	"sync"
	"time"
)

// memorySession is one session of a Memory.
type memorySession struct {
	key   SessionKey
	store *Memory

	mu      sync.Mutex
	record  Session
	call    *call
	waiters waiters
	revised chan struct{} // closed and replaced at each new revision
	timer   *time.Timer   // runs when something is due
	gone    time.Time     // when an ended session vanishes
	retired bool          // no longer in the store
}

func newMemorySession(m *Memory, s Session, revision uint64) *memorySession {
	now := time.Now()
	s.Labels = maps.Clone(s.Labels)
	if s.State == 0 {
		s.State = SessionAwaitingOffer
	}
	if s.Created.IsZero() {
		s.Created = now
	}
	one := &memorySession{
		key: s.Key, store: m, record: s, call: newCall(&m.cfg, revision),
		waiters: waiters{}, revised: make(chan struct{}),
	}
	one.call.generation = s.Generation
	return one
}

// snapshot returns the record.
func (s *memorySession) snapshot() Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := s.record
	rec.Labels, rec.Revision = maps.Clone(rec.Labels), s.call.revision
	return rec
}

// fenced tells whether the writer may write. The caller holds the lock.
func (s *memorySession) fenced(f Fence) error {
	if f != s.record.Fence {
		return ErrFenced
	}
	return nil
}

// change applies a change and tells those who wait.
func (s *memorySession) change(apply func(now time.Time) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired || s.record.State == SessionEnded {
		return ErrSessionEnded
	}
	now := time.Now()
	err := apply(now)
	s.settle(now)
	return err
}

// settle brings the call to rest, wakes who waits, and sets the timer. The caller holds the lock.
func (s *memorySession) settle(now time.Time) {
	before := s.call.revision
	s.call.settle(now)
	s.waiters.wake(s.call.find)
	if s.call.revision != before {
		close(s.revised)
		s.revised = make(chan struct{})
	}
	s.schedule(s.call.due(now), now)
}

// schedule sets the timer. The caller holds the lock.
func (s *memorySession) schedule(due, now time.Time) {
	s.stopTimer()
	if due.IsZero() || s.retired {
		return
	}
	s.store.timers.Add(1)
	s.timer = time.AfterFunc(max(0, due.Sub(now)), func() {
		defer s.store.timers.Done()
		s.tick()
	})
}

// stopTimer stops the timer. A callback that has begun finds nothing due, or does what is.
func (s *memorySession) stopTimer() {
	if s.timer != nil && s.timer.Stop() {
		s.store.timers.Done()
	}
	s.timer = nil
}

// tick does what is due.
func (s *memorySession) tick() {
	s.mu.Lock()
	now := time.Now()
	ended := s.record.State == SessionEnded
	vanish := ended && !now.Before(s.gone)
	if !ended && !s.retired {
		s.call.unmatched = true // what was proposed or held may be joined now
		s.settle(now)
	}
	s.mu.Unlock()
	if vanish {
		s.store.forget(s)
	}
}

// end ends the session, its tracks and its waiters. It is idempotent.
func (s *memorySession) end(reason SessionEndReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired || s.record.State == SessionEnded {
		return
	}
	now := time.Now()
	s.record.State, s.record.EndReason, s.record.Expires = SessionEnded, reason, time.Time{}
	s.call.end(reason.ofTracks(), now)
	s.waiters.wake(func(Selector) (Track, bool, error) { return Track{}, false, ErrSessionEnded })
	close(s.revised)
	s.revised = make(chan struct{})
	s.gone = now.Add(s.store.cfg.EndedTTL)
	s.schedule(s.gone, now)
	s.store.cfg.Logger.Debug("session ended", "session", s.key.ID, "reason", uint8(reason))
}

// ofTracks returns the reason that the session's tracks get.
func (r SessionEndReason) ofTracks() TrackEndReason {
	switch r {
	case SessionSignallingLost, SessionMediaLost:
		return TrackSessionExpired
	case SessionRemoteClosed:
		return TrackMediaEnded
	default:
		return TrackSessionDeleted
	}
}

// retire takes the session out of use: the store is closed, or another has taken its id.
func (s *memorySession) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	s.stopTimer()
}

// resolve waits for the selected track. done is closed when the store is.
func (s *memorySession) resolve(ctx context.Context, sel Selector, done <-chan struct{}) (Track, error) {
	s.mu.Lock()
	if s.retired || s.record.State == SessionEnded {
		s.mu.Unlock()
		return Track{}, ErrSessionEnded
	}
	if t, found, err := s.call.find(sel); found || err != nil {
		s.mu.Unlock()
		return t, err
	}
	one := s.waiters.add(sel)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.waiters.remove(sel, one)
		s.mu.Unlock()
	}()
	select {
	case r := <-one.result:
		return r.track.clone(), r.err
	case <-ctx.Done():
		return Track{}, ctx.Err()
	case <-done:
		return Track{}, ErrClosed
	}
}
