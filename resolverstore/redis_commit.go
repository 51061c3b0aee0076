package resolverstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"
)

// errRetired says that a replica is no longer the session's: take the one that is.
var errRetired = fmt.Errorf("the replica is out of use: %w", ErrUnavailable)

// maxAttempts bounds how often a change is made again because another came before it.
const maxAttempts = 64

// update changes a session: op is played on a copy of what is held, and what differs is stored if the session is still of the
// version that the copy was made from. Else it is read, and op played again. op's error is returned after what it did is stored.
// While Redis is away the session's owner makes the change in what it holds: see redis_ahead.go.
func (s *Redis) update(ctx context.Context, r *replica, e edit) (Session, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return Session{}, s.fault(ctx, ctx.Err())
	}
	for attempt := range maxAttempts {
		if err := s.reachable(); err != nil {
			return s.withoutRedis(r, &e, err)
		}
		rec, done, err := s.attempt(ctx, r, &e)
		if done {
			return rec, err
		}
		if err == nil {
			err = s.load(ctx, r)
		}
		if err != nil {
			return s.unread(r, &e, err)
		}
		if attempt > 1 && !s.pause(time.Duration(rand.IntN(min(attempt, 10)*int(time.Millisecond)))) {
			return Session{}, ErrClosed
		}
	}
	return Session{}, fmt.Errorf("others change it all the time: %w", ErrUnavailable)
}

// unread is what is done about an edit of a session that cannot be read or reconciled.
func (s *Redis) unread(r *replica, e *edit, why error) (Session, error) {
	if errors.Is(why, ErrUnavailable) && !errors.Is(why, errRetired) {
		return s.withoutRedis(r, e, why)
	}
	return Session{}, why
}

// attempt makes an edit once. It reports whether that is the end of it; else the session has to be read.
func (s *Redis) attempt(ctx context.Context, r *replica, e *edit) (Session, bool, error) {
	r.mu.Lock()
	switch {
	case r.retired:
		r.mu.Unlock()
		return Session{}, true, errRetired
	case !r.absent.IsZero(), r.ahead != nil:
		r.mu.Unlock()
		return Session{}, false, nil
	}
	next, opErr := r.draft(e)
	d, from, ttl := next.diff(&r.state), r.version, r.ttl(next)
	r.mu.Unlock()
	if errors.Is(opErr, ErrFenced) {
		s.stats.fenced.Add(1)
	}
	if d.empty() {
		return s.unchanged(ctx, r, next, from, e.quiet, opErr)
	}
	to := from.next()
	found, err := s.commit(ctx, r.name, change{from: from.raw, to: to, delta: d, ttl: ttl, end: next.record.State == SessionEnded})
	switch {
	case errors.Is(err, errNoAnswer):
		if done, err := s.unheard(r, e, next, from, to, err); !done {
			return Session{}, true, err
		}
		return next.snapshot(), true, opErr
	case err != nil:
		return Session{}, true, err
	case found != to.raw:
		return Session{}, false, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.version.raw == from.raw && r.ahead == nil { // else the message was faster
		r.install(next, to, false)
	}
	return next.snapshot(), true, opErr
}

// unchanged makes sure that a change is none.
func (s *Redis) unchanged(ctx context.Context, r *replica, st *state, from version, quiet bool, opErr error) (Session, bool, error) {
	if !quiet {
		v, err := s.versionOf(ctx, r.name)
		if err != nil || v != from.raw {
			return Session{}, err != nil, err
		}
	}
	return st.snapshot(), true, opErr
}

// ttl returns how long a state of the session stays stored. The end of one is kept for as long as the session itself where an owner may not
// know of it: cut off, it would else find nothing, and write the session again. An owner who hears of it shortens that: see vanish.
// The caller holds room.mu.
func (r *replica) ttl(st *state) time.Duration {
	if st.record.State == SessionEnded && r.owns() && !st.record.contested {
		return r.store.cfg.EndedTTL
	}
	return r.store.cfg.SessionTTL
}

// change is one call of commitScript.
type change struct {
	from  string
	to    version
	delta delta
	ttl   time.Duration
	clear bool // what is stored goes first
	end   bool // the session ends
}

// commit stores a change. It returns the version that is stored then: the new one, or that which was in the way.
func (s *Redis) commit(ctx context.Context, name string, c change) (string, error) {
	m := message{kind: messageDelta, from: c.from, to: c.to.raw, delta: c.delta}
	first := ""
	switch {
	case c.clear:
		m.kind, first = messageLook, "clear"
	case c.end:
		first = "end"
	case c.from == "":
		m.kind = messageLook
	}
	args := make([]any, 0, 7+len(c.delta.dels)+len(c.delta.sets))
	args = append(args, c.from, c.to.raw, c.ttl.Milliseconds(), first, s.subs.publish(), m.encode(), len(c.delta.dels))
	for _, list := range [][]string{c.delta.dels, c.delta.sets} {
		for _, v := range list {
			args = append(args, v)
		}
	}
	got, err := s.scripts.commit.Run(ctx, s.client, []string{name}, args...).Slice()
	if err != nil {
		fault := s.fault(ctx, err)
		if errors.Is(fault, ErrUnavailable) && unanswered(err) {
			return "", fmt.Errorf("%w: %w", errNoAnswer, fault)
		}
		return "", fault
	}
	if len(got) == 2 {
		found, _ := got[1].(string)
		return found, nil // perhaps the new one, if an answer was lost and the call repeated
	}
	return c.to.raw, nil
}

// versionOf reads the version of a session, "" if there is none.
func (s *Redis) versionOf(ctx context.Context, name string) (string, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	v, err := s.client.HGet(ctx, name, fieldVersion).Result()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	if err == nil && v == "" {
		return "", ErrCorrupt
	}
	if err != nil {
		return "", s.fault(ctx, err)
	}
	return v, nil
}

// load reads a session and takes over what is found.
func (s *Redis) load(ctx context.Context, r *replica) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	r.mu.Lock()
	before := r.version
	r.doubted = false
	r.mu.Unlock()
	fields, err := s.client.HGetAll(ctx, r.name).Result()
	if err != nil {
		if err = s.fault(ctx, err); !errors.Is(err, ErrCorrupt) {
			return err
		}
		return s.mend(ctx, r, "?", Fence{}, err)
	}
	if len(fields) == 0 {
		return s.notStored(ctx, r)
	}
	v, errV := parseVersion(fields[fieldVersion])
	st, err := parse(&s.cfg, r.key, fields)
	if err = errors.Join(errV, err); err != nil {
		fence, _ := decodeFence(fields[fieldFence])
		return s.mend(ctx, r, cmp.Or(fields[fieldVersion], "?"), fence, fmt.Errorf("%w: %w", ErrCorrupt, err))
	}
	return s.adopt(ctx, r, before, st, v)
}

// adopt takes over a state that was read after the replica was at version before.
func (s *Redis) adopt(ctx context.Context, r *replica, before version, st *state, v version) error {
	r.mu.Lock()
	var lost []Media
	switch {
	case r.retired:
		r.mu.Unlock()
		return errRetired
	case !r.loaded:
		r.install(st, v, false)
	case v.birth != r.version.birth: // another session has the id
		r.mu.Unlock()
		s.retire(r, ErrSessionEnded)
		return errRetired
	case r.ahead != nil && (st.record.State == SessionEnded || !r.outranks(st.record.Fence)):
		r.ahead = nil // the end, or another owner's word, counts
		r.install(st, v, true)
	case r.ahead == nil && v.raw == r.version.raw:
		r.absent = time.Time{}
	case r.rewrites(st, v.behind(before)):
		r.mu.Unlock()
		return s.restore(ctx, r, v.raw, v.n)
	case v.behind(before), r.ahead != nil && st.record.Fence != r.record.Fence:
		r.install(st, v, true)
	case r.ahead != nil:
		r.mu.Unlock()
		return s.reconcile(ctx, r, st, v)
	case v.n >= r.version.n:
		if r.owns() && st.record.Fence == r.record.Fence && st.record.State != SessionEnded {
			lost = lostMedia(r.call, st.call, s.now())
		}
		r.install(st, v, false)
	}
	r.mu.Unlock()
	if len(lost) > 0 && s.enter() {
		go func() {
			defer s.leave()
			s.putBack(r, st.record.Fence, lost)
		}()
	}
	return nil
}

// rewrites reports whether the owner writes its session again in the place of what was read: because Redis went back to before what is known
// here, as a replica was promoted that had not heard all; or lost it, and an owner before, who had not heard that he is one no longer,
// was the first to write again. The caller holds room.mu.
func (r *replica) rewrites(st *state, back bool) bool {
	f := st.record.Fence
	below := r.owns() && f.Epoch < r.mine.Epoch && st.record.State != SessionEnded
	return below || (back || r.ahead != nil && f != r.record.Fence) && r.outranks(f)
}

// lostMedia returns the media that the owner received and that are not stored: only it tells of media, so they were lost, unless
// they waited for so long that another pod may have forgotten them.
func lostMedia(held, stored *call, now time.Time) (lost []Media) {
	for id, m := range held.media {
		waits := m.track != nil || now.Before(m.since.Add(held.cfg.PendingTTL))
		if stored.media[id] == nil && waits && !stored.dead.has(id) {
			lost = append(lost, m.Media)
		}
	}
	return lost
}

// putBack writes media again that were lost, as the owner that f says.
func (s *Redis) putBack(r *replica, f Fence, lost []Media) {
	_, err := s.update(s.ctx, r, edit{quiet: true, do: open(func(st *state, now time.Time) error {
		if err := st.fenced(f); err != nil {
			return err
		}
		return st.call.applyMedia(MediaDiff{Put: lost}, now)
	})})
	if err != nil {
		s.cfg.Logger.Debug("lost media not written again", "session", r.key.ID, "error", err)
	}
}

// notStored does what is to be done about a session that is held here and not stored: the owner writes it again, others wait for
// that, for a while.
func (s *Redis) notStored(ctx context.Context, r *replica) error {
	r.mu.Lock()
	switch {
	case r.retired:
		r.mu.Unlock()
		return errRetired
	case r.record.State == SessionEnded:
		r.mu.Unlock()
		s.retire(r, ErrSessionEnded)
		return errRetired
	case r.owns():
		n := r.version.n
		r.mu.Unlock()
		return s.restore(ctx, r, "", n)
	case !r.loaded:
		r.mu.Unlock()
		why := s.missing(r.key)
		s.retire(r, why)
		return why
	case r.absent.IsZero():
		r.absent = time.Now()
	case time.Since(r.absent) > s.absence():
		r.mu.Unlock()
		s.retire(r, ErrSessionNotFound)
		return ErrSessionNotFound
	}
	now := s.now()
	r.schedule(now.Add(s.absence()/2), now)
	r.mu.Unlock()
	return fmt.Errorf("session %q is not stored; its owner may be about to write it again: %w", r.key.ID, ErrUnavailable)
}

// mend does what is to be done about a session that cannot be read: the owner writes it again, others tell it to.
func (s *Redis) mend(ctx context.Context, r *replica, found string, fence Fence, why error) error {
	r.mu.Lock()
	owns, n, loaded := r.outranks(fence), r.version.n, r.loaded
	r.mu.Unlock()
	s.refuse(r.key, found, why)
	if owns {
		return s.restore(ctx, r, found, n)
	}
	s.doubt(ctx, r.name)
	if !loaded {
		s.retire(r, why)
	}
	return why
}

// refuse counts and logs what is stored of a session and cannot be read: once, until it is something else.
func (s *Redis) refuse(key SessionKey, found string, why error) {
	s.mu.Lock()
	again := s.refused[key] == found
	if len(s.refused) >= maxRefused {
		clear(s.refused)
	}
	s.refused[key] = found
	s.mu.Unlock()
	if again {
		return
	}
	s.stats.corrupt.Add(1)
	s.cfg.Logger.Warn("what redis holds of a session cannot be read; it is left alone until its owner writes it again", "session", key.ID, "error", why)
}

// maxRefused bounds the sessions of which it is remembered that they could not be read.
const maxRefused = 1024

// doubt tells the owner of a session that what is stored of it cannot be read.
func (s *Redis) doubt(ctx context.Context, name string) {
	m := message{kind: messageDoubt}
	publish := s.client.Publish
	if s.subs.sharded {
		publish = s.client.SPublish
	}
	if err := publish(ctx, name, m.encode()).Err(); err != nil {
		s.cfg.Logger.Debug("owner not told", "error", err)
	}
}

// restore writes all that the owner knows of a session again, in the place of what was found. The session keeps its owner and epoch.
func (s *Redis) restore(ctx context.Context, r *replica, found string, n uint64) error {
	r.mu.Lock()
	st := &state{record: r.record, call: r.call.clone()}
	from, a, call, edits := r.version.raw, r.ahead, r.call, 0
	if a != nil {
		edits = len(a.edits)
	}
	to, ttl := newVersion(max(n, r.version.n)+1, r.version.birth), r.ttl(st)
	r.mu.Unlock()
	got, err := s.commit(ctx, r.name, change{from: found, to: to, delta: st.diff(nil), ttl: ttl, clear: true})
	if err != nil {
		if errors.Is(err, errNoAnswer) && a != nil {
			r.mu.Lock()
			a.tried(try{*st, to, edits})
			r.mu.Unlock()
		}
		return err
	}
	if got != to.raw { // somebody else wrote: look again
		s.refresh.mark(r)
		return fmt.Errorf("write session %q again: %w", r.key.ID, ErrUnavailable)
	}
	s.stats.rewritten.Add(1)
	s.cfg.Logger.Info("session written again", "session", r.key.ID)
	r.mu.Lock()
	switch {
	case r.version.raw != from || r.ahead != a:
		s.refresh.mark(r)
	case a != nil:
		r.caughtUp(a, call, try{*st, to, edits}, false)
	default:
		r.version, r.absent = to, time.Time{}
	}
	r.mu.Unlock()
	return s.addToIndex(ctx, r.key)
}
