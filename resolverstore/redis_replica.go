package resolverstore

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// replica is what this process holds of one session: because it owns it, or because somebody here waits, watches or has just
// written. Changes made elsewhere come with their messages.
type replica struct {
	room
	store *Redis
	key   SessionKey
	name  string
	turn  chan struct{} // holds a token while a change is under way: one at a time
	ready chan struct{} // closed once the state is known, or known not to be

	// Guarded by room.mu.
	version version
	mine    *Fence // with which this process owns the session, while the record says so too
	loaded  bool
	absent  time.Time // since when the session is missing in Redis; zero while it is not
	ahead   *ahead    // what is not stored yet; nil if all is
	doubted bool      // somebody could not read what is stored
	timer   *time.Timer
	gone    time.Time // when an ended session vanishes
	retired bool

	// Guarded by store.mu.
	refs   int
	idleAt time.Time // when refs fell to 0
	idle   bool      // it is in store.idle
	owned  bool      // it counts as one of MaxSessions
}

func newReplica(s *Redis, key SessionKey) *replica {
	r := &replica{store: s, key: key, name: sessionName(key), turn: make(chan struct{}, 1), ready: make(chan struct{})}
	r.init(state{record: Session{Key: key, State: SessionAwaitingOffer}, call: newCall(&s.cfg, 0)})
	return r
}

// owns reports whether this process owns the session. The caller holds room.mu.
func (r *replica) owns() bool { return r.mine != nil && r.record.Fence == *r.mine }

// outranks reports whether this process owns the session also against the owner that Redis names: the higher epoch wins, and of
// two with the same epoch the one that is stored. The caller holds room.mu.
func (r *replica) outranks(f Fence) bool { return r.owns() && (f == *r.mine || f.Epoch < r.mine.Epoch) }

// install puts a state in the place of another, and wakes who waits. The caller holds room.mu.
func (r *replica) install(s *state, v version, jump bool) {
	r.state, r.version, r.absent = *s, v, time.Time{}
	if jump {
		r.era++
	}
	if !r.loaded {
		r.loaded = true
		close(r.ready)
	}
	r.changed()
}

// changed wakes who waits, notes whether the session is this process's, and sets the timer. The caller holds room.mu.
func (r *replica) changed() {
	r.wake()
	switch f := r.record.Fence; {
	case f.Owner == r.store.cfg.Owner && (r.mine == nil || f.Epoch > r.mine.Epoch):
		r.mine = &f
	case r.mine != nil && !r.owns():
		r.store.disown(r)
	}
	now := r.store.now()
	if r.record.State == SessionEnded {
		if r.gone.IsZero() {
			r.gone = now.Add(r.store.cfg.EndedTTL + goneMargin)
		}
		r.schedule(r.gone, now)
		return
	}
	r.schedule(r.call.due(now), now)
}

// leastTick is the shortest time to the next tick, so that no fault of a clock makes it spin; who does not own the session leaves
// what is due to the owner for lateTick longer.
// A session that has ended is let go goneMargin after it is gone from Redis.
const (
	goneMargin = 100 * time.Millisecond
	leastTick  = 5 * time.Millisecond
	lateTick   = 500 * time.Millisecond
)

// schedule sets the timer. The caller holds room.mu.
func (r *replica) schedule(due, now time.Time) {
	r.stopTimer()
	if due.IsZero() || r.retired {
		return
	}
	wait := max(leastTick, due.Sub(now))
	if !r.owns() && r.record.State != SessionEnded {
		wait += lateTick
	}
	if !r.store.enter() {
		return
	}
	r.timer = time.AfterFunc(wait, func() {
		defer r.store.leave()
		r.store.tick(r)
	})
}

func (r *replica) stopTimer() {
	if r.timer != nil && r.timer.Stop() {
		r.store.leave()
	}
	r.timer = nil
}

// tick does what is due in a session.
func (s *Redis) tick(r *replica) {
	r.mu.Lock()
	ended, vanish, absent := r.record.State == SessionEnded, !r.gone.IsZero() && !s.now().Before(r.gone), !r.absent.IsZero()
	r.mu.Unlock()
	switch {
	case vanish:
		s.vanish(r)
		return
	case ended:
		return
	case absent:
		s.refresh.mark(r)
		return
	}
	settle := func(st *state, _ time.Time) error {
		st.call.unmatched = true // what was proposed or held may be joined now
		return nil
	}
	_, err := s.update(s.ctx, r, edit{do: settle, again: settle, quiet: true})
	r.mu.Lock()
	defer r.mu.Unlock()
	now := s.now()
	due := r.call.due(now)
	if err != nil && !due.IsZero() {
		due = now.Add(s.opts.Timeout)
	}
	if r.record.State != SessionEnded {
		r.schedule(due, now)
	}
}

// vanish lets an ended session go. Its owner has it forgotten: had another pod ended it, it would be kept for longer.
func (s *Redis) vanish(r *replica) {
	r.mu.Lock()
	owns, over := r.owns(), pastSession{key: r.key, version: r.version.raw, keep: r.record.contested}
	r.mu.Unlock()
	s.retire(r, ErrSessionEnded)
	if owns {
		s.mu.Lock()
		if len(s.past) < s.cfg.MaxSessions {
			s.past = append(s.past, over)
		}
		s.mu.Unlock()
		poke(s.pastWake)
	}
}

// enter notes that something begins which Close must wait for. It reports false when the store is closed.
func (s *Redis) enter() bool {
	s.running.Lock()
	defer s.running.Unlock()
	if s.stopped {
		return false
	}
	s.work.Add(1)
	return true
}

func (s *Redis) leave() { s.work.Done() }

// acquire returns the replica of a session, which is up to date but for what is on its way. It must be released.
func (s *Redis) acquire(ctx context.Context, key SessionKey) (*replica, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r, err := s.held(key)
	if err != nil {
		return nil, err
	}
	if r == nil {
		if r, err = s.hold(ctx, key); err != nil {
			return nil, err
		}
	}
	if err := s.await(ctx, r); err != nil {
		s.release(r)
		return nil, err
	}
	return r, nil
}

// held returns the replica that there is, or nil.
func (s *Redis) held(key SessionKey) (*replica, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	r := s.replicas[key]
	if r != nil {
		r.refs++
	}
	return r, nil
}

// hold makes a replica of a session that there is. Who asks for unknown ones costs one read, and nothing that stays.
func (s *Redis) hold(ctx context.Context, key SessionKey) (*replica, error) {
	if !s.validKey(key) {
		return nil, fmt.Errorf("session %.64q: %w", key.ID, ErrSessionNotFound)
	}
	if err := s.reachable(); err != nil {
		return nil, err
	}
	found, err := s.versionOf(ctx, sessionName(key))
	if errors.Is(err, ErrCorrupt) {
		s.doubt(ctx, sessionName(key))
	}
	if err != nil {
		return nil, err
	}
	if found == "" {
		return nil, s.missing(key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	r := s.replicas[key]
	if r == nil {
		if len(s.replicas) >= maxReplicas*s.cfg.MaxSessions {
			return nil, fmt.Errorf("session %q: %w", key.ID, ErrLimitReached)
		}
		r = newReplica(s, key)
		s.replicas[key] = r
		s.subs.add(r)
	}
	r.refs++
	return r, nil
}

// maxReplicas is how many times MaxSessions sessions may be held, other pods' included.
const maxReplicas = 4

// missing tells what it means that a session is not stored.
func (s *Redis) missing(key SessionKey) error {
	if s.lately() {
		return fmt.Errorf("session %q is not stored, and redis lost its data a moment ago: %w", key.ID, ErrUnavailable)
	}
	return fmt.Errorf("session %q: %w", key.ID, ErrSessionNotFound)
}

// await waits until a replica's state is known.
func (s *Redis) await(ctx context.Context, r *replica) error {
	select {
	case <-r.ready:
	default:
		timer := time.NewTimer(2 * s.opts.Timeout)
		defer timer.Stop()
		select {
		case <-r.ready:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return ErrClosed
		case <-timer.C:
			return fmt.Errorf("subscribe to session %q: %w", r.key.ID, ErrUnavailable)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.loaded {
		return r.over
	}
	return nil
}

// release gives a replica back. One that nobody uses and this process does not own is let go after a while.
func (s *Redis) release(r *replica) {
	r.mu.Lock()
	owns := r.owns() && !r.retired
	r.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	r.refs--
	if r.refs == 0 && !owns && !r.idle && s.replicas[r.key] == r {
		r.idle = true
		s.idle = append(s.idle, r)
	}
	r.idleAt = time.Now()
}

// housekeep lets go of replicas that were idle for IdleTTL.
func (s *Redis) housekeep() {
	var go_, later []*replica
	s.mu.Lock()
	for _, r := range s.idle {
		switch {
		case r.refs > 0 || s.replicas[r.key] != r:
			r.idle = false
		case time.Since(r.idleAt) < s.cfg.IdleTTL:
			later = append(later, r)
		default:
			r.idle = false
			go_ = append(go_, r)
		}
	}
	s.idle = later
	s.mu.Unlock()
	for _, r := range go_ {
		r.mu.Lock()
		owns := r.owns()
		r.mu.Unlock()
		if !owns {
			s.retireIdle(r)
		}
	}
}

// retireIdle lets a replica go unless somebody has taken it meanwhile.
func (s *Redis) retireIdle(r *replica) {
	s.mu.Lock()
	if r.refs > 0 || s.replicas[r.key] != r {
		s.mu.Unlock()
		return
	}
	delete(s.replicas, r.key)
	s.mu.Unlock()
	s.subs.remove(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retired = true
	r.stopTimer()
	r.finish(ErrSessionNotFound)
}

// retire takes a replica out of use, and tells who still waits why.
func (s *Redis) retire(r *replica, why error) {
	s.mu.Lock()
	if s.replicas[r.key] == r {
		delete(s.replicas, r.key)
	}
	if r.owned {
		r.owned = false
		s.count--
	}
	s.mu.Unlock()
	s.subs.remove(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retired = true
	r.stopTimer()
	r.finish(why)
	if !r.loaded {
		select {
		case <-r.ready:
		default:
			close(r.ready)
		}
	}
}
