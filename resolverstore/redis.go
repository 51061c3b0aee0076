package resolverstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
)

// Redis is a Store that pods share. Each process holds the state of the sessions that it owns and of those that somebody waits for
// in it; what changes it is decided by the same code as in Memory, on a copy, and stored by one script if nobody else was
// faster. See keys.go for what is stored, README.md for what the server must allow.
type Redis struct {
	cfg     Config
	opts    RedisOptions
	client  redis.UniversalClient
	scripts scripts
	subs    *subscriber
	refresh *refresher
	pulse   pulse

	ctx    context.Context // ends with ErrClosed as its cause
	cancel context.CancelCauseFunc
	done   <-chan struct{} // ctx's

	mu        sync.Mutex
	replicas  map[SessionKey]*replica
	count     int // replicas that are owned
	idle      []*replica
	sweeping  []*replica
	sweepStep int
	swept     time.Time
	closed    bool

	running sync.Mutex
	stopped bool
	work    sync.WaitGroup
}

var _ Store = (*Redis)(nil)

// NewRedis connects to Redis, and looks whether the server can be used: ErrUnsuitable, ErrUnavailable. What could be better there
// is logged as a warning. Close must be called.
func NewRedis(ctx context.Context, cfg Config, opts RedisOptions) (*Redis, error) {
	client, err := opts.withDefaults().client()
	if err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if cfg.Owner == "" {
		cfg.Owner = rand.Text()
	}
	s := &Redis{
		cfg: cfg, opts: opts.withDefaults(), client: client, scripts: newScripts(), replicas: map[SessionKey]*replica{},
		swept: time.Now(),
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.done = s.ctx.Done()
	s.subs, s.refresh = newSubscriber(s), newRefresher(s)
	err = s.inspect(ctx)
	if err == nil {
		err = s.fault(ctx, s.beat(ctx))
	}
	if err != nil {
		s.cancel(ErrClosed)
		return nil, errors.Join(fmt.Errorf("open redis: %w", err), client.Close())
	}
	s.work.Go(s.beats)
	s.work.Go(s.subs.run)
	s.work.Go(s.refresh.run)
	return s, nil
}

// bounded returns a context for what may take two timeouts at most. Its cause tells whether it was that.
func (s *Redis) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, 2*s.opts.Timeout, ErrUnavailable)
}

// fault returns an error of the client as one of this package's. Nothing else of it goes further than into a log.
func (s *Redis) fault(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case err == nil:
		return nil
	case s.ctx.Err() != nil, errors.Is(err, redis.ErrClosed):
		return ErrClosed
	case cause != nil && !errors.Is(cause, ErrUnavailable):
		return cause
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return ErrCorrupt
	}
	return fmt.Errorf("%w: %v", ErrUnavailable, err) //nolint:errorlint // a deadline of the driver's is not the caller's
}

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
	s.mu.Lock()
	old, closed := s.replicas[r.key], s.closed
	s.mu.Unlock()
	if old != nil {
		s.retire(old, ErrSessionEnded)
	}
	r.mu.Lock()
	r.install(&st, v, false)
	rec := r.state.snapshot()
	r.mu.Unlock()
	s.mu.Lock()
	if closed = closed || s.closed; !closed {
		s.replicas[r.key] = r
	}
	s.mu.Unlock()
	if closed {
		s.retire(r, ErrClosed)
		return rec
	}
	s.subs.add(r)
	if err := s.addToIndex(ctx, r.key); err != nil {
		s.cfg.Logger.Warn("session not in the index; the next sweep adds it", "session", r.key.ID, "error", err)
	}
	return rec
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
		rec, err = s.update(ctx, r, false, open(func(st *state, _ time.Time) error {
			if err := st.fenced(f); err != nil {
				return err
			}
			st.update(u)
			return nil
		}))
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
	err := s.with(ctx, key, "end", func(r *replica) error {
		_, err := s.update(ctx, r, false, open(func(st *state, now time.Time) error {
			st.end(reason, now)
			return nil
		}))
		return err
	})
	if errors.Is(err, ErrSessionNotFound) || errors.Is(err, ErrSessionEnded) {
		return nil
	}
	return err
}

// ApplyEvents implements Store.
func (s *Redis) ApplyEvents(ctx context.Context, key SessionKey, events []Event) (applied Applied, err error) {
	err = s.with(ctx, key, "apply events to", func(r *replica) error {
		rec, err := s.update(ctx, r, false, open(func(st *state, now time.Time) error {
			applied.Ignored = st.applyEvents(events, now)
			return nil
		}))
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
		_, err := s.update(ctx, r, false, open(func(st *state, now time.Time) error {
			if err := st.fenced(f); err != nil {
				return err
			}
			return st.call.applyMedia(d, now)
		}))
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
		same := v == r.version.raw
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
	if errors.Is(err, ErrUnavailable) && r.owns() {
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

// Close implements Store. What is stored stays; the lease runs out.
func (s *Redis) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	all := make([]*replica, 0, len(s.replicas))
	for _, r := range s.replicas {
		all = append(all, r)
	}
	s.mu.Unlock()
	s.running.Lock()
	s.stopped = true
	s.running.Unlock()
	s.cancel(ErrClosed)
	for _, r := range all {
		s.retire(r, ErrClosed)
	}
	s.work.Wait()
	if err := s.client.Close(); err != nil {
		return fmt.Errorf("close redis: %w", err)
	}
	return nil
}

// inspect looks whether the server can be used.
func (s *Redis) inspect(ctx context.Context) error {
	if c, ok := s.client.(*redis.ClusterClient); ok {
		err := c.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return s.inspectNode(ctx, node) })
		if err != nil && !errors.Is(err, ErrUnsuitable) {
			err = s.fault(ctx, err)
		}
		return err
	}
	return s.inspectNode(ctx, s.client)
}

func (s *Redis) inspectNode(ctx context.Context, node redis.UniversalClient) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if err := node.Ping(ctx).Err(); err != nil {
		return s.fault(ctx, err)
	}
	info, err := node.Info(ctx, "server").Result()
	if err != nil {
		s.cfg.Logger.Warn("redis does not say what it is; version and eviction policy are not known", "error", err)
		return nil
	}
	if v := infoField(info, "redis_version"); v != "" && tooOld(v) {
		return fmt.Errorf("redis %s is older than 7.0: %w", v, ErrUnsuitable)
	}
	memory, err := node.Info(ctx, "memory").Result()
	if policy := infoField(memory, "maxmemory_policy"); err == nil && policy != "" && policy != "noeviction" {
		s.cfg.Logger.Warn("redis may evict sessions that are in use: set maxmemory-policy to noeviction", "maxmemory_policy", policy)
	}
	return nil
}

// infoField returns a field of an INFO reply.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return v
		}
	}
	return ""
}

func tooOld(v string) bool {
	major, _, _ := strings.Cut(v, ".")
	return len(major) == 1 && major < "7"
}
