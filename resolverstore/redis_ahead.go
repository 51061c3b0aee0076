package resolverstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// This file is how the owner of a session goes on while Redis is away: what it is told changes the state that it holds, at once and for
// all who wait or watch here. Once Redis is back, that state is stored in the place of the one that it came from; if others have
// written meanwhile, what was told here is played once more on theirs.

// edit is one change of a session.
type edit struct {
	// do makes the change, on a copy: perhaps several times, of which the last counts.
	do func(st *state, now time.Time) error
	// again makes it once more after the caller has gone, on what others wrote while Redis was away. Nil is an edit that can only be
	// made while Redis is there.
	again func(st *state, now time.Time) error
	// quiet leaves it at that where do changes nothing; else it is made sure that it would not on the newest version either. A quiet
	// edit is one that any settling makes, and is never made again.
	quiet bool
}

// errNoAnswer says of a write that it may have been done or may still be done, as nothing was heard of it.
var errNoAnswer = fmt.Errorf("no answer: %w", ErrUnavailable)

// unanswered reports whether an error of the client leaves open what the server did.
func unanswered(err error) bool {
	var said redis.Error
	return !errors.As(err, &said)
}

// maxAhead bounds how many edits of a session are kept to be made again. Further ones fail until Redis is back.
const maxAhead = 1024

// ahead is what a session's owner has changed and not stored.
type ahead struct {
	base  try
	tries []try // writes since, that may have been done
	edits []func(*state, time.Time) error
}

// try is a state that may be stored.
type try struct {
	state   state
	version version
	edits   int // so many of ahead.edits are in it
}

// maxTries bounds the writes without an answer that are remembered of a session.
const maxTries = 8

// tried notes a write without an answer.
func (a *ahead) tried(t try) {
	if a.tries = append(a.tries, t); len(a.tries) > maxTries {
		a.tries = a.tries[1:]
	}
}

// known returns what a version that is stored holds, if it is one of this process's.
func (a *ahead) known(raw string) (try, bool) {
	for _, t := range append([]try{a.base}, a.tries...) {
		if t.version.raw == raw {
			return t, true
		}
	}
	return try{}, false
}

// mayGoAhead reports whether an edit may be made without Redis. The caller holds room.mu.
func (r *replica) mayGoAhead(e *edit) bool {
	return e.again != nil && r.loaded && !r.retired && r.owns() && r.record.State != SessionEnded &&
		(r.ahead == nil || len(r.ahead.edits) < maxAhead)
}

// goAhead takes over a state that is not stored. The caller holds room.mu.
func (r *replica) goAhead(next *state, e *edit) {
	if r.ahead == nil {
		r.ahead = &ahead{base: try{state: r.state, version: r.version}}
		r.store.cfg.Logger.Debug("going on without redis", "session", r.key.ID)
	}
	if !e.quiet {
		r.ahead.edits = append(r.ahead.edits, e.again)
	}
	r.install(next, r.version, false)
}

// withoutRedis makes an edit in what the owner holds, or says why it cannot be made.
func (s *Redis) withoutRedis(r *replica, e *edit, why error) (Session, error) {
	rec, err := r.editHeld(e, why)
	if s.reachable() == nil { // else all is looked at when it is again
		s.refresh.mark(r)
	}
	return rec, err
}

func (r *replica) editHeld(e *edit, why error) (Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.mayGoAhead(e) {
		return Session{}, why
	}
	next, opErr := r.draft(e)
	if d := next.diff(&r.state); !d.empty() {
		r.goAhead(next, e)
	}
	return next.snapshot(), opErr
}

// draft makes an edit on a copy of what is held. The caller holds room.mu.
func (r *replica) draft(e *edit) (*state, error) {
	now := r.store.now()
	next := &state{record: r.record, call: r.call.clone()}
	err := e.do(next, now)
	next.rest(now)
	return next, err
}

// rest settles the call, unless the session has ended.
func (s *state) rest(now time.Time) {
	if s.record.State != SessionEnded {
		s.call.settle(now)
	}
	s.record.Revision = s.call.revision
}

// unheard is what is done about an edit of which next is the outcome, and whose write had no answer.
func (s *Redis) unheard(r *replica, e *edit, next *state, from, to version, why error) (known bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.version.raw == to.raw {
		return true, nil // the message of it came
	}
	if r.version.raw != from.raw || r.ahead != nil || !r.mayGoAhead(e) {
		return false, why
	}
	r.goAhead(next, e)
	r.ahead.tried(try{*next, to, len(r.ahead.edits)})
	s.refresh.mark(r)
	return true, nil
}

// reconcile stores what the owner has changed while Redis was away, where st is what it holds now.
func (s *Redis) reconcile(ctx context.Context, r *replica, st *state, v version) error {
	r.mu.Lock()
	a := r.ahead
	if a == nil || r.retired {
		r.mu.Unlock()
		return nil
	}
	base, known := a.known(v.raw)
	held, jump := try{r.state, v, len(a.edits)}, false
	if !known { // others wrote
		base, jump = try{state: state{record: st.record, call: st.call.clone()}}, true
		held.state = *r.replay(st)
	}
	call, d, ttl := r.call, held.state.diff(&base.state), r.ttl(&held.state)
	r.mu.Unlock()
	if !d.empty() {
		held.version = v.next()
		got, err := s.commit(ctx, r.name, change{from: v.raw, to: held.version, delta: d, ttl: ttl})
		if errors.Is(err, errNoAnswer) && !jump {
			r.mu.Lock()
			a.tried(held)
			r.mu.Unlock()
		}
		if err == nil && got != held.version.raw {
			err = fmt.Errorf("others change it: %w", ErrUnavailable)
		}
		if err != nil {
			return err
		}
	}
	s.stats.reconciled.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.caughtUp(a, call, held, jump)
	return nil
}

// replay makes what was told here once more, on what is stored. Tracks keep the ids that were told here where they join the same; who
// knows an older revision, of here or there, gets a snapshot. The caller holds room.mu.
func (r *replica) replay(st *state) *state {
	now := r.store.now()
	stored := st.call.clone()
	for _, again := range r.ahead.edits {
		_ = again(st, now) // who told it has had its answer
	}
	st.rest(now)
	st.call.nameAs(r.call, stored)
	st.call.revision = max(st.call.revision, r.call.revision) + 1
	st.call.floor = st.call.revision
	st.record.Revision = st.call.revision
	return st
}

// nameAs gives tracks that are not stored yet the ids of those of another call that join the same.
func (c *call) nameAs(other, stored *call) {
	for _, t := range c.sortedTracks() {
		if stored.tracks[t.id] != nil {
			continue
		}
		ref, media := t.joins()
		var was *track
		if p := other.publications[ref]; p != nil {
			was = p.track
		} else if m := other.media[media]; m != nil {
			was = m.track
		}
		if was == nil || c.tracks[was.id] != nil || stored.tracks[was.id] != nil || was.kind != t.kind {
			continue
		}
		if _, held := was.joins(); held != "" && media != "" && held != media {
			continue
		}
		delete(c.tracks, t.id)
		t.id, t.shown.ID = was.id, was.id
		c.tracks[t.id] = t
	}
}

// caughtUp notes that a state is stored, which was held while call was this replica's. The caller holds room.mu.
func (r *replica) caughtUp(a *ahead, call *call, stored try, jump bool) {
	if r.ahead != a || r.retired {
		r.store.refresh.mark(r)
		return
	}
	if r.call == call {
		r.ahead = nil
		r.install(&stored.state, stored.version, jump)
		return
	}
	// More was told meanwhile.
	a.base, a.tries, a.edits = stored, nil, a.edits[stored.edits:]
	a.base.edits = 0
	if jump {
		next := r.replay(&state{record: stored.state.record, call: stored.state.call.clone()})
		r.install(next, stored.version, true)
	}
	r.version, r.absent = stored.version, time.Time{}
	r.store.refresh.mark(r)
}
