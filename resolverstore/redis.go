package resolverstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

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
	peers   *peers
	awake   awake
	stats   storeStats

	pastWake  chan struct{} // holds a token when past is not empty
	orphaning chan struct{} // holds a token while Orphans runs

	ctx    context.Context // ends with ErrClosed as its cause
	cancel context.CancelCauseFunc
	done   <-chan struct{} // ctx's

	mu        sync.Mutex
	self      Pod
	replicas  map[SessionKey]*replica
	count     int // replicas that are owned
	idle      []*replica
	sweeping  []*replica
	sweepStep int
	swept     time.Time
	unclaimed map[SessionKey]Fence  // taken over, perhaps: the answer did not come
	refused   map[SessionKey]string // what is stored of a session and could not be read, as was logged
	past      []pastSession         // to be forgotten
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
	if cfg.Observe != nil {
		client.AddHook(timing{cfg.Observe})
	}
	if cfg.Owner == "" {
		cfg.Owner = rand.Text()
	}
	s := &Redis{
		cfg: cfg, opts: opts.withDefaults(), client: client, scripts: newScripts(), replicas: map[SessionKey]*replica{},
		peers: newPeers(), awake: awake{last: time.Now()}, orphaning: make(chan struct{}, 1), pastWake: make(chan struct{}, 1),
		unclaimed: map[SessionKey]Fence{}, refused: map[SessionKey]string{},
		swept: time.Now(), self: Pod{Incarnation: cfg.Owner, Address: cfg.OwnerAddress},
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
	s.work.Go(s.looks)
	s.work.Go(s.sweeps)
	s.work.Go(s.wakes)
	s.work.Go(s.forgets)
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
	s.stats.failures.Add(1)
	return fmt.Errorf("%w: %v", ErrUnavailable, err) //nolint:errorlint // a deadline of the driver's is not the caller's
}

// Close implements Store. What is stored stays, and the lease runs out; where this process owns nothing any more nobody needs to wait for that.
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
	owns := false
	for _, r := range all {
		r.mu.Lock()
		owns = owns || r.owns() && r.record.State != SessionEnded
		r.mu.Unlock()
		s.retire(r, ErrClosed)
	}
	s.work.Wait()
	if _, up := s.Contact(); up && !owns {
		s.dropLease()
	}
	if err := s.client.Close(); err != nil {
		return fmt.Errorf("close redis: %w", err)
	}
	return nil
}

// dropLease takes this process's lease back. It runs out otherwise.
func (s *Redis) dropLease() {
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.Timeout)
	defer cancel()
	if err := s.client.Del(ctx, leaseName(s.cfg.Owner)).Err(); err != nil {
		s.cfg.Logger.Debug("lease not dropped; it runs out", "error", err)
	}
}
