package service

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc/health"

	"github.com/penstock-media/penstock/connector/whip"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// tracerName is the instrumentation scope of the package's spans.
const tracerName = "github.com/penstock-media/penstock/service"

// Service serves sessions and tracks. All methods are safe for concurrent use.
type Service struct {
	cfg     Config
	tracer  trace.Tracer
	health  *health.Server
	drain   *drain
	streams *limiter
	gate    gate // creating and deleting a session
	keys    *relay.Keys
	proofs  *relay.Gate // of calls that other pods forward
	pods    *relay.Pods // to forward calls to
	routes  map[string]route
	tokens  tokens // of streams that may go on

	mu       sync.Mutex
	closed   bool
	sessions map[string]*session // open ones, by id
	ended    sync.WaitGroup      // one for each session that is not forgotten
	talking  sync.WaitGroup      // one for each goroutine of a conversation or a stream
}

// New returns a service without sessions. Close must be called.
func New(cfg Config) (*Service, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	keys, err := podKeys(cfg.PodSecrets)
	if err != nil {
		return nil, err
	}
	s := &Service{
		cfg:      cfg,
		keys:     keys,
		routes:   routes(),
		proofs:   relay.NewGate(cfg.Owner, keys, cfg.PodMutual, cfg.Logger),
		pods:     relay.New(relay.Config{Self: cfg.Owner, Keys: keys, Credentials: cfg.PodCredentials, Propagator: cfg.Propagator}),
		health:   health.NewServer(),
		drain:    newDrain(),
		streams:  newLimiter("streams", cfg.Limits.Streams),
		tokens:   tokens{keys: keys, life: cfg.ResumeLife, now: time.Now},
		sessions: make(map[string]*session),
	}
	var provider trace.TracerProvider = noop.NewTracerProvider()
	if cfg.TracerProvider != nil {
		provider = cfg.TracerProvider
	}
	s.tracer = provider.Tracer(tracerName)
	return s, nil
}

// WHIP returns what the WHIP endpoint publishes into.
func (s *Service) WHIP() whip.Sessions { return whipSessions{s} }

// Sessions returns how many sessions are open.
func (s *Service) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Draining tells whether Drain was called, so that this process takes no new sessions.
func (s *Service) Draining() bool { return s.drain.begun() }

// Drain refuses new sessions, turns health to NOT_SERVING, tells every stream that it ends in grace, and when that
// is over ends them with UNAVAILABLE. It returns then, or when ctx ends, which ends the streams at once. A second call returns
// when the first is over.
func (s *Service) Drain(ctx context.Context, grace time.Duration) {
	s.health.Shutdown()
	s.drain.run(ctx, grace)
}

// Close ends all streams and sessions and waits for them. The gRPC server must be stopped by the caller. It is idempotent.
func (s *Service) Close() {
	s.health.Shutdown()
	s.drain.finish()
	s.mu.Lock()
	s.closed = true
	open := make([]*session, 0, len(s.sessions))
	for _, v := range s.sessions {
		open = append(open, v)
	}
	s.mu.Unlock()
	var closing sync.WaitGroup
	for _, v := range open {
		closing.Go(func() { v.end(context.Background(), resolverstore.SessionDrained) })
	}
	closing.Wait()
	s.pods.Close()
	s.ended.Wait()
	s.talking.Wait()
}

// open starts a session in the pool and lets the store follow it. The session is in the store already.
func (s *Service) open(rec resolverstore.Session, servers []rtcpool.ICEServer) (*session, error) {
	live := newSession(s, rec)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || s.drain.begun():
		return nil, fmt.Errorf("opening session %q: %w", rec.Key.ID, errDraining)
	case len(s.sessions) >= s.cfg.Limits.Sessions:
		return nil, fmt.Errorf("opening session %q: %w: %d sessions", rec.Key.ID, errLimit, s.cfg.Limits.Sessions)
	}
	rtc, err := s.cfg.Pool.Open(rtcpool.SessionConfig{
		ID: rec.Key.ID, ICEServers: servers, Grace: rec.Grace, Observer: observer{live.mirror, live.hub},
	})
	if err != nil {
		return nil, fmt.Errorf("opening session %q: %w", rec.Key.ID, err)
	}
	live.rtc = rtc
	s.sessions[rec.Key.ID] = live
	s.ended.Go(live.follow)
	return live, nil
}

// forget takes a session that has ended out of the open ones.
func (s *Service) forget(v *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[v.key.ID] == v {
		delete(s.sessions, v.key.ID)
	}
}

// session returns an open session, or nil.
func (s *Service) session(id string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}

// lookup returns an open session, or why there is none.
func (s *Service) lookup(ctx context.Context, id string) (*session, error) {
	if v := s.session(id); v != nil {
		return v, nil
	}
	rec, err := s.cfg.Store.GetSession(ctx, key(id))
	if err != nil {
		return nil, fmt.Errorf("looking up session %q: %w", id, err)
	}
	// Ended, or about to be opened or ended by a call that runs at this moment.
	return nil, fmt.Errorf("session %q, state %d: %w", rec.Key.ID, rec.State, resolverstore.ErrSessionEnded)
}

// key returns the store's key of a session. There is but one tenant yet.
func key(id string) resolverstore.SessionKey { return resolverstore.SessionKey{ID: id} }
