package resolverstore

import (
	"context"
	"errors"
	"time"
)

// ApplyEvents implements Store.
func (s *Redis) ApplyEvents(ctx context.Context, key SessionKey, events []Event) (applied Applied, err error) {
	err = s.with(ctx, key, "apply events to", func(r *replica) error {
		rec, err := s.update(ctx, r, edit{
			do: open(func(st *state, now time.Time) error {
				applied.Ignored = st.applyEvents(events, now)
				return nil
			}),
			again: open(func(st *state, now time.Time) error {
				st.applyEvents(events, now)
				return nil
			}),
		})
		applied.Revision = rec.Revision
		return err
	})
	if err != nil {
		return Applied{}, err
	}
	return applied, nil
}

// ApplyMedia implements Store.
func (s *Redis) ApplyMedia(ctx context.Context, key SessionKey, f Fence, d MediaDiff) error {
	return s.with(ctx, key, "apply media to", func(r *replica) error {
		do := open(func(st *state, now time.Time) error {
			if err := st.fenced(f); err != nil {
				return err
			}
			return st.call.applyMedia(d, now)
		})
		_, err := s.update(ctx, r, edit{do: do, again: do})
		return err
	})
}

// fresh makes sure that a replica is what is stored. While Redis is away, it is for who owns the session.
func (s *Redis) fresh(ctx context.Context, r *replica) error {
	err := s.reachable()
	if err == nil {
		var v string
		v, err = s.versionOf(ctx, r.name)
		r.mu.Lock()
		same := v == r.version.raw && r.ahead == nil
		r.mu.Unlock()
		if err == nil && same {
			return nil
		}
		if err == nil || errors.Is(err, ErrCorrupt) {
			err = s.load(ctx, r)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(err, ErrUnavailable) && !errors.Is(err, errRetired) && r.owns() {
		return nil
	}
	return err
}

// Resolve implements Store. It costs one read where the session is held already, and nothing while it waits.
func (s *Redis) Resolve(ctx context.Context, key SessionKey, sel Selector) (t Track, err error) {
	if err := sel.validate(); err != nil {
		return Track{}, err
	}
	err = s.with(ctx, key, "resolve in", func(r *replica) error {
		if err := s.fresh(ctx, r); err != nil {
			return err
		}
		t, err = r.resolve(ctx, sel, s.done)
		return err
	})
	return t, err
}

// ListTracks implements Store.
func (s *Redis) ListTracks(ctx context.Context, key SessionKey, after string, limit int) (tracks []Track, revision uint64, err error) {
	err = s.with(ctx, key, "list tracks of", func(r *replica) error {
		if err := s.fresh(ctx, r); err != nil {
			return err
		}
		tracks, revision = r.listTracks(after, limit)
		return nil
	})
	return tracks, revision, err
}

// Watch implements Store. An ended session can be watched: the watcher tells what ended, and then ErrSessionEnded.
func (s *Redis) Watch(ctx context.Context, key SessionKey, afterRevision uint64) (w Watcher, err error) {
	err = s.with(ctx, key, "watch", func(r *replica) error {
		if err := s.fresh(ctx, r); err != nil {
			return err
		}
		s.mu.Lock()
		r.refs++
		s.mu.Unlock()
		w = newWatcher(&r.room, afterRevision, s.done, func() { s.release(r) })
		return nil
	})
	return w, err
}
