package resolverstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

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
	s.self.Load = l
}

// Deposed implements Ownership.
func (s *Redis) Deposed(key SessionKey, f Fence) bool {
	s.mu.Lock()
	r := s.replicas[key]
	s.mu.Unlock()
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loaded && r.record.Fence != f
}

// Owner implements Ownership. It costs what Resolve does.
func (s *Redis) Owner(ctx context.Context, key SessionKey, not Fence) (Owner, error) {
	for {
		rec, err := s.otherOwner(ctx, key, not)
		if errors.Is(err, errRetired) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return Owner{}, fmt.Errorf("owner of session %q: %w", key.ID, err)
		}
		o := Owner{Session: rec}
		o.Pod, o.Alive = s.podOf(ctx, rec.Fence.Owner)
		return o, nil
	}
}

// otherOwner waits until a session has another owner, or has ended.
func (s *Redis) otherOwner(ctx context.Context, key SessionKey, not Fence) (Session, error) {
	r, err := s.acquire(ctx, key)
	if err != nil {
		return Session{}, err
	}
	defer s.release(r)
	r.mu.Lock()
	owns := r.owns() && r.record.Fence == not
	r.mu.Unlock()
	if !owns { // else who deposes it is heard of, or found when Redis is back
		if err := s.fresh(ctx, r); err != nil {
			return Session{}, err
		}
	}
	for {
		r.mu.Lock()
		rec, revised, over := r.state.snapshot(), r.revised, r.over
		r.mu.Unlock()
		switch {
		case rec.State == SessionEnded:
			return rec, nil
		case errors.Is(over, ErrSessionEnded):
			rec.State = SessionEnded
			return rec, nil
		case over != nil:
			return Session{}, over
		case rec.Fence != not:
			return rec, nil
		}
		select {
		case <-revised:
		case <-s.done:
			return Session{}, ErrClosed
		case <-ctx.Done():
			return Session{}, context.Cause(ctx)
		}
	}
}

// TakeOver implements Ownership.
func (s *Redis) TakeOver(ctx context.Context, key SessionKey, from Fence, consent bool) (Session, error) {
	if err := ctx.Err(); err != nil {
		return Session{}, err
	}
	if err := s.reachable(); err != nil {
		return Session{}, fmt.Errorf("take over session %q: %w", key.ID, err)
	}
	to := succeed(from, s.cfg.Owner, s.now())
	var rec Session
	err := s.with(ctx, key, "take over", func(r *replica) (err error) {
		rec, err = s.takeOver(ctx, r, from, to, consent)
		return err
	})
	if err != nil {
		return Session{}, err
	}
	s.stats.takenOver.Add(1)
	s.cfg.Logger.Info("session taken over", "session", key.ID, "from", from.Owner, "epoch", to.Epoch, "consent", consent)
	return rec, nil
}

// takeOver makes this process a session's owner in the place of another, with the fence given.
func (s *Redis) takeOver(ctx context.Context, r *replica, from, to Fence, consent bool) (Session, error) {
	if err := s.fresh(ctx, r); err != nil {
		return Session{}, err
	}
	r.mu.Lock()
	err := r.yields(from)
	r.mu.Unlock()
	if err == nil {
		err = s.mayTakeOver(ctx, r.key, from, consent)
	}
	if err != nil {
		return Session{}, err
	}
	if err := s.reserve(r.key); err != nil {
		return Session{}, err
	}
	kept := false
	defer func() {
		if !kept {
			s.mu.Lock()
			s.count--
			s.mu.Unlock()
		}
	}()
	// First, since a crash after the change must not leave a session that is in no index.
	if err := s.addToIndex(ctx, r.key); err != nil {
		return Session{}, err
	}
	rec, err := s.commitTakeOver(ctx, r, from, to, consent)
	if err != nil {
		return Session{}, err
	}
	r.mu.Lock() // so that nobody deposes this process in between, unseen
	s.mu.Lock()
	if s.replicas[r.key] == r && !r.owned && r.owns() {
		r.owned, kept = true, true
	}
	delete(s.unclaimed, r.key)
	s.mu.Unlock()
	r.mu.Unlock()
	s.dropOwned(ctx, from.Owner, []SessionKey{r.key})
	return rec, nil
}

// yields tells why a session cannot be taken from an owner at all. The caller holds room.mu, or has a state of its own.
func (s *state) yields(from Fence) error {
	if s.record.State == SessionEnded {
		return ErrSessionEnded
	}
	return s.fenced(from)
}

// mayTakeOver tells whether the rules allow it: the owner agrees, or is gone, and is not back since that was seen.
func (s *Redis) mayTakeOver(ctx context.Context, key SessionKey, from Fence, consent bool) error {
	s.mu.Lock()
	unclaimed, mine := s.unclaimed[key]
	s.mu.Unlock()
	if consent || mine && unclaimed == from {
		return nil
	}
	if !s.isGone(from.Owner) {
		return ErrOwned
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	err := s.client.Get(ctx, leaseName(from.Owner)).Err()
	switch {
	case errors.Is(err, redis.Nil):
		return nil
	case err == nil:
		return ErrOwned
	}
	return s.fault(ctx, err)
}

// maxTakeOvers bounds how often a take-over is tried whose answer did not come.
const maxTakeOvers = 3

// commitTakeOver stores a take-over. If it cannot find out whether it was stored, the session is noted as unclaimed.
func (s *Redis) commitTakeOver(ctx context.Context, r *replica, from, to Fence, consent bool) (rec Session, err error) {
	address, uncertain := s.Self().Address, false
	e := edit{do: func(st *state, now time.Time) error {
		if st.record.Fence == to { // the try before was done
			rec = st.opened()
			return nil
		}
		if err := st.yields(from); err != nil {
			return err
		}
		st.takeOver(to, address, consent, now)
		rec = st.opened()
		return nil
	}}
	for range maxTakeOvers {
		var stored Session
		if stored, err = s.update(ctx, r, e); err == nil {
			rec.Revision = stored.Revision
			return rec, nil
		}
		uncertain = uncertain || errors.Is(err, errNoAnswer) || ctx.Err() != nil // who asked may have left before the answer
		if !errors.Is(err, ErrUnavailable) || !uncertain || ctx.Err() != nil {
			break
		}
	}
	if uncertain && !errors.Is(err, ErrFenced) && !errors.Is(err, ErrSessionEnded) {
		s.mu.Lock()
		if len(s.unclaimed) < s.cfg.MaxSessions {
			s.unclaimed[r.key] = to
		}
		s.mu.Unlock()
	}
	return Session{}, err
}
