package resolverstore

import (
	"context"
	"fmt"
	"time"
)

// setLoad keeps a process's own load.
func (p *Pod) setLoad(l Load) { p.Load = l }

// Self implements Ownership.
func (m *Memory) Self() Pod {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.self
}

// SetLoad implements Ownership.
func (m *Memory) SetLoad(l Load) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.self.setLoad(l)
}

// Pods implements Ownership.
func (m *Memory) Pods(ctx context.Context) ([]Pod, error) { return []Pod{m.Self()}, ctx.Err() }

// Claimed implements Ownership.
func (m *Memory) Claimed(string) (address string, alive bool) { return "", false }

// Deposed implements Ownership.
func (m *Memory) Deposed(key SessionKey, f Fence) bool {
	m.mu.Lock()
	s := m.sessions[key]
	m.mu.Unlock()
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record.Fence != f
}

// Owner implements Ownership.
func (m *Memory) Owner(ctx context.Context, key SessionKey, not Fence) (Owner, error) {
	s, err := m.session(ctx, key)
	if err != nil {
		return Owner{}, err
	}
	for {
		s.mu.Lock()
		rec, revised, over := s.state.snapshot(), s.revised, s.over
		s.mu.Unlock()
		if rec.State == SessionEnded || rec.Fence != not || over != nil {
			return Owner{Session: rec, Pod: m.Self(), Alive: true}, nil
		}
		select {
		case <-revised:
		case <-m.done:
			return Owner{}, ErrClosed
		case <-ctx.Done():
			return Owner{}, context.Cause(ctx)
		}
	}
}

// TakeOver implements Ownership. There is nobody else whose lease could be gone.
func (m *Memory) TakeOver(ctx context.Context, key SessionKey, from Fence, consent bool) (Session, error) {
	s, err := m.session(ctx, key)
	if err != nil {
		return Session{}, err
	}
	var rec Session
	self := m.Self()
	err = s.change(func(now time.Time) error {
		if err := s.fenced(from); err != nil {
			return err
		}
		if !consent {
			return ErrOwned
		}
		s.takeOver(succeed(from, self.Incarnation, now), self.Address, consent, now)
		rec = s.state.opened()
		return nil
	})
	if err != nil {
		return Session{}, fmt.Errorf("take over session %q: %w", key.ID, err)
	}
	rec.Revision = s.snapshot().Revision
	return rec, nil
}

// Sure implements Ownership: nobody else could have taken anything.
func (m *Memory) Sure() bool { return true }

// Recheck implements Ownership.
func (m *Memory) Recheck(ctx context.Context) error { return ctx.Err() }

// Gone implements Ownership: no pod is ever gone.
func (m *Memory) Gone(ctx context.Context, _ string) error {
	_, err := m.Orphans(ctx, 0)
	return err
}

// Orphans implements Ownership: there are none.
func (m *Memory) Orphans(ctx context.Context, _ int) ([]Session, error) {
	select {
	case <-m.done:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
