package resolverstore

import (
	"errors"
	"sync"

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
