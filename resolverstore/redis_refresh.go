package resolverstore

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// refresher reads sessions again that may have changed unheard. It keeps a set of them, not a queue, and reads in batches.
type refresher struct {
	store *Redis
	mu    sync.Mutex
	due   map[*replica]struct{}
	wake  chan struct{}
}

func newRefresher(s *Redis) *refresher {
	return &refresher{store: s, due: map[*replica]struct{}{}, wake: make(chan struct{}, 1)}
}

// mark has a session read again.
func (f *refresher) mark(r *replica) {
	f.mu.Lock()
	f.due[r] = struct{}{}
	f.mu.Unlock()
	poke(f.wake)
}

// confirmed says that a session's changes are heard from now on.
func (f *refresher) confirmed(r *replica) { f.mark(r) }

// all has every session read again.
func (f *refresher) all() {
	f.store.mu.Lock()
	f.mu.Lock()
	for _, r := range f.store.replicas {
		f.due[r] = struct{}{}
	}
	f.mu.Unlock()
	f.store.mu.Unlock()
	poke(f.wake)
}

// atOnce is how many versions one pipeline asks for.
const refreshAtOnce = 128

func (f *refresher) run() {
	for {
		select {
		case <-f.store.done:
			return
		case <-f.wake:
		}
		for {
			batch := f.take()
			if len(batch) == 0 {
				break
			}
			if failed := f.read(batch); failed && !f.store.pause(f.store.opts.Timeout/5) {
				return
			}
		}
	}
}

func (f *refresher) take() []*replica {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*replica
	for r := range f.due {
		if len(out) == refreshAtOnce {
			break
		}
		delete(f.due, r)
		out = append(out, r)
	}
	return out
}

// read looks at some sessions; those that could not be read stay due. It reports whether any could not.
func (f *refresher) read(batch []*replica) (failed bool) {
	s := f.store
	ctx, cancel := s.bounded(s.ctx)
	defer cancel()
	cmds := make([]*redis.StringCmd, len(batch))
	pipe := s.client.Pipeline()
	for i, r := range batch {
		cmds[i] = pipe.HGet(ctx, r.name, fieldVersion)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for i, r := range batch {
		if s.current(r, cmds[i]) {
			continue
		}
		if err := s.load(ctx, r); err != nil && !errors.Is(err, ErrSessionNotFound) {
			s.cfg.Logger.Debug("session not read", "session", r.key.ID, "error", err)
			if !errors.Is(err, errRetired) && !errors.Is(err, ErrCorrupt) {
				failed = true
				f.mark(r)
			}
		}
	}
	return failed
}

// current reports whether a replica is what the version read says.
func (s *Redis) current(r *replica, got *redis.StringCmd) bool {
	v, err := got.Result()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.retired || err == nil && r.loaded && !r.doubted && r.absent.IsZero() && r.ahead == nil && v == r.version.raw
}

// deliver takes a message of another's change, or of one's own.
func (s *Redis) deliver(r *replica, payload string) {
	m, err := decodeMessage(payload)
	if err != nil {
		s.refresh.mark(r)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	to, err := parseVersion(m.to)
	switch {
	case r.retired:
	case m.kind == messageDoubt:
		if r.owns() {
			r.doubted = true
			s.refresh.mark(r)
		}
	case !r.loaded, r.ahead != nil: // it is about to be read, or reconciled
		s.refresh.mark(r)
	case err == nil && to.birth == r.version.birth && to.n < r.version.n, m.to == r.version.raw:
	case err == nil && m.kind == messageDelta && m.from == r.version.raw && r.absent.IsZero():
		if err := r.state.apply(m.delta); err != nil {
			r.version.raw = "" // nothing leads from here
			s.refresh.mark(r)
			return
		}
		r.version = to
		r.changed()
	default:
		s.refresh.mark(r)
	}
}

// sweep renews some of the sessions that this process owns, so that each is renewed and looked at four times in SessionTTL.
func (s *Redis) sweep() {
	s.mu.Lock()
	if len(s.sweeping) == 0 && time.Since(s.swept) > s.cfg.SessionTTL/4 {
		s.swept = time.Now()
		for _, r := range s.replicas { // in the random order of a map
			if r.owned {
				s.sweeping = append(s.sweeping, r)
			}
		}
		s.sweepStep = max(1, len(s.sweeping)*int(s.cfg.Heartbeat)/max(1, int(s.cfg.SessionTTL/8)))
	}
	n := min(s.sweepStep, len(s.sweeping))
	some := s.sweeping[:n]
	s.sweeping = s.sweeping[n:]
	s.mu.Unlock()
	for _, r := range some {
		if err := s.renew(r); err != nil {
			s.cfg.Logger.Debug("session not renewed", "session", r.key.ID, "error", err)
			return // the next sweep
		}
	}
}

func (s *Redis) renew(r *replica) error {
	ctx, cancel := s.bounded(s.ctx)
	defer cancel()
	r.mu.Lock()
	skip, held, owns := r.retired || r.record.State == SessionEnded, r.version.raw, r.owns()
	r.mu.Unlock()
	if skip {
		return nil
	}
	if !owns {
		s.disown(r)
		return nil
	}
	v, err := s.scripts.touch.Run(ctx, s.client, []string{r.name}, s.cfg.SessionTTL.Milliseconds()).Text()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("renew session: %w", err)
	}
	if v != held {
		s.refresh.mark(r)
	}
	return s.addToIndex(ctx, r.key)
}

// disown lets a replica go like any other once its session has another owner.
func (s *Redis) disown(r *replica) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.owned {
		r.owned = false
		s.count--
	}
	if r.refs == 0 && !r.idle && s.replicas[r.key] == r {
		r.idle, r.idleAt = true, time.Now()
		s.idle = append(s.idle, r)
	}
}
