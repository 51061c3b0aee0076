package resolverstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

func (s *Redis) validKey(k SessionKey) bool {
	return k.ID != "" && len(k.ID) <= s.cfg.MaxIDBytes && len(k.Tenant) <= s.cfg.MaxIDBytes && utf8.ValidString(k.ID)
}

// CreateSession implements Store. An ended session's id may be taken at once; revisions then go on from its own.
func (s *Redis) CreateSession(ctx context.Context, rec Session) (Session, bool, error) {
	if err := ctx.Err(); err != nil {
		return Session{}, false, err
	}
	if !s.validKey(rec.Key) {
		return Session{}, false, fmt.Errorf("create session: %w", ErrInvalidSession)
	}
	if err := s.reachable(); err != nil {
		return Session{}, false, fmt.Errorf("create session %q: %w", rec.Key.ID, err)
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	stored, created, err := s.create(ctx, rec)
	if err != nil {
		return Session{}, false, fmt.Errorf("create session %q: %w", rec.Key.ID, err)
	}
	return stored, created, nil
}

func (s *Redis) create(ctx context.Context, rec Session) (Session, bool, error) {
	if err := s.reserve(rec.Key); err != nil {
		return Session{}, false, err
	}
	kept := false
	defer func() {
		if !kept {
			s.mu.Lock()
			s.count--
			s.mu.Unlock()
		}
	}()
	found, n, revision := "", uint64(0), rec.Revision
	for range maxAttempts {
		st := newState(&s.cfg, rec, revision, s.now())
		to := newVersion(n+1, rand.Text()[:10])
		got, err := s.commit(ctx, sessionName(rec.Key), change{from: found, to: to, delta: st.diff(nil), ttl: s.cfg.SessionTTL, clear: found != ""})
		if err != nil {
			return Session{}, false, err
		}
		if got == to.raw {
			kept = true
			return s.created(ctx, st, to), true, nil
		}
		known, v, err := s.read(ctx, rec.Key)
		if errors.Is(err, ErrSessionNotFound) {
			found, n = "", 0
			continue
		}
		if err != nil {
			return Session{}, false, err
		}
		if known.record.State != SessionEnded && !s.orphaned(known.record, rec) {
			if SameRequest(known.record, rec) {
				return known.snapshot(), false, nil
			}
			return Session{}, false, ErrSessionExists
		}
		found, n, revision = v.raw, v.n, max(rec.Revision, known.call.revision)
		rec.Fence = rec.Fence.after(known.record.Fence) // by another pod's clock
	}
	return Session{}, false, fmt.Errorf("others change it all the time: %w", ErrUnavailable)
}

// orphaned reports whether a session was stored by this process at the same request, of which the answer was lost, so that nobody
// holds it.
func (s *Redis) orphaned(stored, rec Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return rec.Fence.Owner == s.cfg.Owner && stored.Fence.Owner == s.cfg.Owner && SameRequest(stored, rec) &&
		s.replicas[rec.Key] == nil
}

// reserve takes a place for one more session of this process.
func (s *Redis) reserve(key SessionKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.replicas[key]
	if s.count >= s.cfg.MaxSessions && (r == nil || !r.owned) {
		return ErrLimitReached
	}
	s.count++
	return nil
}

// created holds a session that this process has stored.
func (s *Redis) created(ctx context.Context, st state, v version) Session {
	r := newReplica(s, st.record.Key)
	fence := st.record.Fence
	r.mine, r.owned = &fence, true
	r.mu.Lock()
	r.install(&st, v, false)
	rec := r.state.snapshot()
	r.mu.Unlock()
	s.mu.Lock()
	old, closed := s.replicas[r.key], s.closed
	if !closed {
		s.replicas[r.key] = r
	}
	s.mu.Unlock()
	if closed {
		s.retire(r, ErrClosed)
		return rec
	}
	if old != nil {
		s.supersede(old, v)
	}
	s.subs.add(r)
	if err := s.addToIndex(ctx, r.key); err != nil {
		s.cfg.Logger.Warn("session not in the index; the next sweep adds it", "session", r.key.ID, "error", err)
	}
	return rec
}

// supersede takes a replica out of use whose place another has, of the version given. Who was so fast as to ask for the same session
// since it was stored asks again; who waits for one that ended is told so.
func (s *Redis) supersede(old *replica, v version) {
	old.mu.Lock()
	same := !old.loaded || old.version.birth == v.birth
	old.mu.Unlock()
	if same {
		s.retire(old, errRetired)
		return
	}
	s.retire(old, ErrSessionEnded)
}

// read reads a session without holding it.
func (s *Redis) read(ctx context.Context, key SessionKey) (*state, version, error) {
	got, err := s.client.HMGet(ctx, sessionName(key), fieldVersion, fieldRecord, fieldFence, fieldCounters).Result()
	if err != nil {
		return nil, version{}, s.fault(ctx, err)
	}
	return s.readFields(key, got)
}

// readFields takes version, record, fence and counters as HMGET returns them.
func (s *Redis) readFields(key SessionKey, got []any) (*state, version, error) {
	fields := map[string]string{}
	for i, f := range []string{fieldVersion, fieldRecord, fieldFence, fieldCounters} {
		if i < len(got) {
			if v, ok := got[i].(string); ok {
				fields[f] = v
			}
		}
	}
	if len(fields) == 0 {
		return nil, version{}, s.missing(key)
	}
	v, errV := parseVersion(fields[fieldVersion])
	st, err := parse(&s.cfg, key, fields)
	if err = errors.Join(errV, err); err != nil {
		s.refuse(key, cmp.Or(fields[fieldVersion], "?"), err)
		return nil, version{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return st, v, nil
}

// GetSession implements Store. While Redis is away, this process answers for the sessions that it owns.
func (s *Redis) GetSession(ctx context.Context, key SessionKey) (Session, error) {
	if err := ctx.Err(); err != nil {
		return Session{}, err
	}
	err := s.reachable()
	if err == nil {
		bounded, cancel := s.bounded(ctx)
		defer cancel()
		var st *state
		if st, _, err = s.read(bounded, key); err == nil {
			return st.snapshot(), nil
		}
	}
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrCorrupt) {
		if rec, ok := s.own(key); ok {
			return rec, nil
		}
	}
	return Session{}, fmt.Errorf("session %q: %w", key.ID, err)
}

// own returns the record of a session that this process owns.
func (s *Redis) own(key SessionKey) (Session, bool) {
	r, err := s.held(key)
	if err != nil || r == nil {
		return Session{}, false
	}
	defer s.release(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.snapshot(), r.loaded && r.owns()
}

// with calls f with the session's replica, again if that was retired meanwhile.
func (s *Redis) with(ctx context.Context, key SessionKey, what string, f func(*replica) error) error {
	for range 3 {
		r, err := s.acquire(ctx, key)
		if err == nil {
			err = f(r)
			s.release(r)
		}
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, errRetired):
			return fmt.Errorf("%s session %q: %w", what, key.ID, err)
		}
	}
	return fmt.Errorf("%s session %q: %w", what, key.ID, ErrUnavailable)
}

// UpdateSession implements Store.
func (s *Redis) UpdateSession(ctx context.Context, key SessionKey, f Fence, u SessionUpdate) (rec Session, err error) {
	err = s.with(ctx, key, "update", func(r *replica) error {
		do := open(func(st *state, _ time.Time) error {
			if err := st.fenced(f); err != nil {
				return err
			}
			st.update(u)
			return nil
		})
		rec, err = s.update(ctx, r, edit{do: do, again: do})
		return err
	})
	if err != nil {
		return Session{}, err
	}
	return rec, nil
}

// open wraps what may only be done to a session that has not ended.
func open(op func(*state, time.Time) error) func(*state, time.Time) error {
	return func(st *state, now time.Time) error {
		if st.record.State == SessionEnded {
			return ErrSessionEnded
		}
		return op(st, now)
	}
}

// EndSession implements Store.
func (s *Redis) EndSession(ctx context.Context, key SessionKey, reason SessionEndReason) error {
	return s.end(ctx, key, nil, reason)
}

// EndOwned implements Store.
func (s *Redis) EndOwned(ctx context.Context, key SessionKey, f Fence, reason SessionEndReason) error {
	return s.end(ctx, key, &f, reason)
}

// end ends a session, if it belongs to an owner where one is named.
func (s *Redis) end(ctx context.Context, key SessionKey, f *Fence, reason SessionEndReason) error {
	err := s.with(ctx, key, "end", func(r *replica) error {
		_, err := s.update(ctx, r, edit{do: open(func(st *state, now time.Time) error {
			if f != nil {
				if err := st.fenced(*f); err != nil {
					return err
				}
			}
			st.end(reason, now)
			return nil
		})})
		return err
	})
	if errors.Is(err, ErrSessionNotFound) || errors.Is(err, ErrSessionEnded) {
		return nil
	}
	return err
}
