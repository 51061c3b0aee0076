package resolverstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Memory is a Store in the memory of one process.
type Memory struct {
	cfg  Config
	done chan struct{}

	mu       sync.Mutex
	self     Pod
	sessions map[SessionKey]*memorySession
	closed   bool
	timers   sync.WaitGroup // callbacks of sessions' timers that run
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store. Close must be called.
func NewMemory(cfg Config) *Memory {
	cfg = cfg.withDefaults()
	if cfg.Owner == "" {
		cfg.Owner = rand.Text()
	}
	return &Memory{
		cfg: cfg, done: make(chan struct{}), sessions: map[SessionKey]*memorySession{},
		self: Pod{Incarnation: cfg.Owner, Address: cfg.OwnerAddress},
	}
}

// SameRequest reports whether two sessions were asked for alike, so that the second request is a repetition of the first.
func SameRequest(a, b Session) bool {
	return a.Key == b.Key && a.RequestHash == b.RequestHash && a.Source == b.Source
}

// CreateSession implements Store. An ended session's id may be taken at once; revisions then go on from its own.
func (m *Memory) CreateSession(ctx context.Context, s Session) (Session, bool, error) {
	if err := ctx.Err(); err != nil {
		return Session{}, false, err
	}
	if id := s.Key.ID; id == "" || len(id) > m.cfg.MaxIDBytes || len(s.Key.Tenant) > m.cfg.MaxIDBytes || !utf8.ValidString(id) {
		return Session{}, false, fmt.Errorf("create session: %w", ErrInvalidSession)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return Session{}, false, ErrClosed
	}
	old := m.sessions[s.Key]
	if old == nil && len(m.sessions) >= m.cfg.MaxSessions {
		return Session{}, false, fmt.Errorf("create session %q: %w", s.Key.ID, ErrLimitReached)
	}
	revision := s.Revision
	if old != nil {
		known := old.snapshot()
		if known.State != SessionEnded {
			if SameRequest(known, s) {
				return known, false, nil
			}
			return Session{}, false, fmt.Errorf("create session %q: %w", s.Key.ID, ErrSessionExists)
		}
		old.retire(ErrSessionEnded)
		revision = max(revision, known.Revision)
		s.Fence = s.Fence.after(known.Fence)
	}
	fresh := newMemorySession(m, s, revision)
	m.sessions[s.Key] = fresh
	return fresh.snapshot(), true, nil
}

// session returns a session, ended or not.
func (m *Memory) session(ctx context.Context, key SessionKey) (*memorySession, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	s := m.sessions[key]
	if s == nil {
		return nil, fmt.Errorf("session %q: %w", key.ID, ErrSessionNotFound)
	}
	return s, nil
}

// GetSession implements Store.
func (m *Memory) GetSession(ctx context.Context, key SessionKey) (Session, error) {
	s, err := m.session(ctx, key)
	if err != nil {
		return Session{}, err
	}
	return s.snapshot(), nil
}

// ListSessions implements Store.
func (m *Memory) ListSessions(ctx context.Context, tenant, after string, labels map[string]string, limit int) ([]Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil, ErrClosed
	}
	var found []*memorySession
	for key, s := range m.sessions {
		if key.Tenant == tenant && key.ID > after {
			found = append(found, s)
		}
	}
	m.mu.Unlock()
	slices.SortFunc(found, func(a, b *memorySession) int { return strings.Compare(a.key.ID, b.key.ID) })
	var out []Session
	for _, s := range found {
		if len(out) >= limit {
			break
		}
		if rec := s.snapshot(); hasLabels(rec.Labels, labels) {
			out = append(out, rec)
		}
	}
	return out, nil
}

func hasLabels(have, want map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// UpdateSession implements Store.
func (m *Memory) UpdateSession(ctx context.Context, key SessionKey, f Fence, u SessionUpdate) (Session, error) {
	s, err := m.session(ctx, key)
	if err != nil {
		return Session{}, err
	}
	err = s.change(func(time.Time) error {
		if err := s.fenced(f); err != nil {
			return err
		}
		s.update(u)
		return nil
	})
	if err != nil {
		return Session{}, fmt.Errorf("update session %q: %w", key.ID, err)
	}
	return s.snapshot(), nil
}

// EndSession implements Store.
func (m *Memory) EndSession(ctx context.Context, key SessionKey, reason SessionEndReason) error {
	return m.end(ctx, key, nil, reason)
}

// EndOwned implements Store.
func (m *Memory) EndOwned(ctx context.Context, key SessionKey, f Fence, reason SessionEndReason) error {
	return m.end(ctx, key, &f, reason)
}

// end ends a session, if it belongs to an owner where one is named.
func (m *Memory) end(ctx context.Context, key SessionKey, f *Fence, reason SessionEndReason) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	s, closed := m.sessions[key], m.closed
	m.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case s == nil:
		return nil
	}
	if err := s.end(f, reason); err != nil {
		return fmt.Errorf("end session %q: %w", key.ID, err)
	}
	return nil
}

// ApplyEvents implements Store.
func (m *Memory) ApplyEvents(ctx context.Context, key SessionKey, events []Event) (Applied, error) {
	s, err := m.session(ctx, key)
	if err != nil {
		return Applied{}, err
	}
	var applied Applied
	err = s.change(func(now time.Time) error {
		applied.Ignored = s.applyEvents(events, now)
		return nil
	})
	if err != nil {
		return Applied{}, fmt.Errorf("apply events to session %q: %w", key.ID, err)
	}
	applied.Revision = s.snapshot().Revision
	return applied, nil
}

// ApplyMedia implements Store.
func (m *Memory) ApplyMedia(ctx context.Context, key SessionKey, f Fence, d MediaDiff) error {
	s, err := m.session(ctx, key)
	if err != nil {
		return err
	}
	err = s.change(func(now time.Time) error {
		if err := s.fenced(f); err != nil {
			return err
		}
		return s.call.applyMedia(d, now)
	})
	if err != nil {
		return fmt.Errorf("apply media to session %q: %w", key.ID, err)
	}
	return nil
}

// Resolve implements Store.
func (m *Memory) Resolve(ctx context.Context, key SessionKey, sel Selector) (Track, error) {
	if err := sel.validate(); err != nil {
		return Track{}, err
	}
	s, err := m.session(ctx, key)
	if err != nil {
		return Track{}, err
	}
	t, err := s.resolve(ctx, sel, m.done)
	if err != nil {
		return Track{}, fmt.Errorf("resolve in session %q: %w", key.ID, err)
	}
	return t, nil
}

// ListTracks implements Store.
func (m *Memory) ListTracks(ctx context.Context, key SessionKey, after string, limit int) ([]Track, uint64, error) {
	s, err := m.session(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	tracks, revision := s.listTracks(after, limit)
	return tracks, revision, nil
}

// Watch implements Store. An ended session can be watched: the watcher tells what ended, and then ErrSessionEnded.
func (m *Memory) Watch(ctx context.Context, key SessionKey, afterRevision uint64) (Watcher, error) {
	s, err := m.session(ctx, key)
	if err != nil {
		return nil, err
	}
	return newWatcher(&s.room, afterRevision, m.done, func() {}), nil
}

// Close implements Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	close(m.done)
	all := slices.Collect(maps.Values(m.sessions))
	clear(m.sessions)
	m.mu.Unlock()
	for _, s := range all {
		s.retire(ErrClosed)
	}
	m.timers.Wait()
	return nil
}

// forget removes a session that has ended, unless another has taken its id.
func (m *Memory) forget(s *memorySession) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sessions[s.key] == s {
		delete(m.sessions, s.key)
	}
}
