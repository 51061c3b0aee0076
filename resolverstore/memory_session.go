package resolverstore

import (
	"time"
)

// memorySession is one session of a Memory.
type memorySession struct {
	room
	key     SessionKey
	store   *Memory
	timer   *time.Timer // runs when something is due
	gone    time.Time   // when an ended session vanishes
	retired bool        // no longer in the store
}

func newMemorySession(m *Memory, s Session, revision uint64) *memorySession {
	one := &memorySession{key: s.Key, store: m}
	one.init(newState(&m.cfg, s, revision, time.Now()))
	return one
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
	if s.call.revision != before {
		s.wake()
	} else {
		s.waiters.wake(s.find) // a tombstone is no revision
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

// end ends the session, its tracks and its waiters, if it belongs to an owner where one is named: else ErrFenced. It is idempotent.
func (s *memorySession) end(f *Fence, reason SessionEndReason) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired || s.record.State == SessionEnded {
		return nil
	}
	if f != nil {
		if err := s.fenced(*f); err != nil {
			return err
		}
	}
	now := time.Now()
	s.state.end(reason, now)
	s.wake()
	s.gone = now.Add(s.store.cfg.EndedTTL)
	s.schedule(s.gone, now)
	s.store.cfg.Logger.Debug("session ended", "session", s.key.ID, "reason", uint8(reason))
	return nil
}

// retire takes the session out of use: the store is closed, or another has taken its id. Who still finds it gets the reason.
func (s *memorySession) retire(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	s.stopTimer()
	if s.over == nil {
		s.over = why
	}
}
