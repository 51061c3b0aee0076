package resolverstore

import (
	"context"
	"time"
)

// Ownership is the part of a Store by which pods share the sessions out among themselves. A pod has one lease, a hint of whether
// it lives; what counts is the fence in a session's record. In a Memory there is one pod, which owns everything.
type Ownership interface {
	// Self is this process, as its next heartbeat tells it.
	Self() Pod
	// SetLoad says what heartbeats tell of this process from the next one on.
	SetLoad(Load)
	// Pods returns the pods whose leases live, this one among them, in the order of incarnations. ErrUnavailable.
	Pods(ctx context.Context) ([]Pod, error)

	// Owner returns who owns a session as soon as the fence is another than not, or the session has ended; at once where not is zero. Waiting
	// costs no commands. Errors: ctx's, ErrSessionNotFound, ErrUnavailable, ErrClosed.
	Owner(ctx context.Context, key SessionKey, not Fence) (Owner, error)
	// TakeOver makes this process the owner in the place of from, with a higher epoch that is never below the wall clock's milliseconds. Media of
	// the owner before are gone, publications stay, the state is SessionAwaitingOffer, MinGeneration is above every generation that was, and
	// Expires is a grace away. Errors: ErrOwned while the owner's lease has not been gone for as long as the rules ask, unless consent says
	// that it has agreed; ErrFenced if from owns the session no longer; ErrSessionNotFound, ErrSessionEnded, ErrLimitReached, ErrUnavailable.
	TakeOver(ctx context.Context, key SessionKey, from Fence, consent bool) (Session, error)
	// Orphans waits until there are sessions whose owner is gone for so long that they may be taken over, and which are this process's share of
	// them; or which nobody else has taken for a while. At most limit at a time. Errors: ctx's, ErrClosed.
	Orphans(ctx context.Context, limit int) ([]Session, error)
}

// Pod is one process of the gateway, as its lease tells.
type Pod struct {
	Incarnation string // random for each process
	Address     string // host:port of its gRPC server for other pods; empty if it has none
	Load        Load
}

// Load is how busy a pod is.
type Load struct {
	Sessions    int
	MaxSessions int
	Busy        float64 // share of its decode workers' time that is used, 0 to 1
	Draining    bool    // it takes no new sessions
}

// Owner is who owns a session.
type Owner struct {
	Session Session
	Pod     Pod  // the owner's; only its incarnation is known when its lease is gone
	Alive   bool // its lease was there when it was last looked at
}

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

// TakeOver implements Ownership: there is nobody else.
func (m *Memory) TakeOver(ctx context.Context, key SessionKey, from Fence, _ bool) (Session, error) {
	rec, err := m.GetSession(ctx, key)
	switch {
	case err != nil:
		return Session{}, err
	case rec.State == SessionEnded:
		return Session{}, ErrSessionEnded
	case rec.Fence != from:
		return Session{}, ErrFenced
	}
	return Session{}, ErrOwned
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

// Self implements Ownership.
func (s *Redis) Self() Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.self
}

// SetLoad implements Ownership.
func (s *Redis) SetLoad(l Load) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.self.setLoad(l)
}

// Pods implements Ownership.
func (s *Redis) Pods(ctx context.Context) ([]Pod, error) { return []Pod{s.Self()}, ctx.Err() }

// Owner implements Ownership.
func (s *Redis) Owner(ctx context.Context, key SessionKey, not Fence) (Owner, error) {
	for {
		rec, err := s.GetSession(ctx, key)
		if err != nil {
			return Owner{}, err
		}
		if rec.State == SessionEnded || rec.Fence != not {
			return Owner{Session: rec, Pod: Pod{Incarnation: rec.Fence.Owner, Address: rec.OwnerAddress}, Alive: true}, nil
		}
		select {
		case <-time.After(s.cfg.Heartbeat): //nolint:forbidigo // until waiters of this kind are woken
		case <-ctx.Done():
			return Owner{}, context.Cause(ctx)
		}
	}
}

// TakeOver implements Ownership.
func (s *Redis) TakeOver(context.Context, SessionKey, Fence, bool) (Session, error) {
	return Session{}, ErrOwned
}

// Orphans implements Ownership.
func (s *Redis) Orphans(ctx context.Context, _ int) ([]Session, error) {
	select {
	case <-s.done:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
