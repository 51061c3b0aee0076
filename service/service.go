package service

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc/health"

	"github.com/penstock-media/penstock/connector/whip"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
	"github.com/penstock-media/penstock/service/internal/identity"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// tracerName is the instrumentation scope of the package's spans.
const tracerName = "github.com/penstock-media/penstock/service"

// Service serves sessions and tracks. All methods are safe for concurrent use.
type Service struct {
	cfg         Config
	tracer      trace.Tracer
	health      *health.Server
	endings     endings // of which the store is still to be told
	drain       *drain
	streams     *limiter
	limits      *callLimits
	resealing   chan struct{} // holds one token when another secret seals
	guesses     *guesses
	gate        gate // creating, taking over and deleting a session
	keys        *relay.Keys
	auth        *identity.Authenticator // who calls
	proofs      *relay.Gate             // of calls that other pods forward
	pods        *relay.Pods             // to forward calls to
	routes      map[string]route
	permissions map[string]permission
	openings    map[string]string // names of spans, by method
	tokens      tokens            // of streams that may go on
	waits       time.Duration     // of streams for an owner
	counts      counts
	meters      meters
	calls       atomic.Int64                 // under way, but those who watch health
	taking      chan struct{}                // holds a token for each session that is being taken over
	less        chan struct{}                // holds one token when a session or a call has come to its end
	whip        atomic.Pointer[whip.Handler] // serves what came to other endpoints

	resolving, unaries, streaming atomic.Int64 // waits for tracks, and calls, for metrics

	draining sync.Mutex         // held by Drain
	stop     context.CancelFunc // ends what runs beside calls
	working  sync.WaitGroup     // one for each of these goroutines

	mu       sync.Mutex
	closed   bool
	sessions map[resolverstore.SessionKey]*session // open ones
	coming   int                                   // those that are being taken over, which have a place already
	ended    sync.WaitGroup                        // one for each session that is not forgotten
	talking  sync.WaitGroup                        // one for each goroutine of a conversation or a stream
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
	auth, err := newAuthenticator(&cfg)
	if err != nil {
		return nil, err
	}
	s := &Service{
		cfg:         cfg,
		auth:        auth,
		keys:        keys,
		routes:      routes(),
		permissions: permissions(),
		openings:    openings(),
		proofs:      relay.NewGate(cfg.Owner, keys, cfg.PodCertified, isPod(cfg.Store), cfg.Logger),
		pods:        relay.New(relay.Config{Self: cfg.Owner, Keys: keys, Credentials: cfg.PodCredentials, Propagator: cfg.Propagator}),
		health:      health.NewServer(),
		drain:       newDrain(),
		limits:      newCallLimits(cfg.Limits),
		tokens:      tokens{keys: keys, life: cfg.ResumeLife, now: time.Now},
		waits:       movePatience * cfg.MoveTimeout,
		sessions:    make(map[resolverstore.SessionKey]*session),
		taking:      make(chan struct{}, takeOversAtOnce),
		less:        make(chan struct{}, 1),
		resealing:   make(chan struct{}, 1),
	}
	s.guesses = newGuesses(cfg.Limits, &s.limits.refusals, cfg.Logger)
	s.streams = newLimiter(limitStreams, cfg.Limits.Streams, &s.limits.refusals)
	var provider trace.TracerProvider = noop.NewTracerProvider()
	if cfg.TracerProvider != nil {
		provider = cfg.TracerProvider
	}
	s.tracer = provider.Tracer(tracerName)
	if s.meters, err = newMeters(s); err != nil {
		auth.Close()
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.working.Go(func() { s.adoptOrphans(ctx) })
	s.working.Go(func() { s.resealAll(ctx) })
	s.working.Go(func() { s.watchStore(s.drain.over) })
	context.AfterFunc(s.drain.closing, stop) // Who is about to stop takes nothing over.
	if s.cfg.Busy != nil {
		s.working.Go(func() { s.watchLoad(ctx) })
	}
	return s, nil
}

// WHIP returns what the WHIP endpoint publishes into.
func (s *Service) WHIP() whip.Sessions { return whipSessions{s} }

// busy tells whether a session or a call is left here, or a session on its way here.
func (s *Service) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)+s.coming > 0 || s.calls.Load() > 0
}

// Sessions returns how many sessions are open.
func (s *Service) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Draining tells whether Drain was called, so that this process takes no new sessions.
func (s *Service) Draining() bool { return s.drain.begun() }

// Close ends all streams and sessions and waits for them. The gRPC server must be stopped by the caller. It is idempotent.
func (s *Service) Close() {
	s.health.Shutdown()
	s.drain.finish()
	s.stop()
	s.working.Wait()
	s.auth.Close()
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

// room is the place of a session that is about to be created or taken over.
type room struct {
	svc  *Service
	kept bool // under svc.mu
}

// reserve keeps a place, until the session is open or the place is released. Errors: errDraining, errLimit, which is not counted.
func (s *Service) reserve(id string) (*room, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || s.drain.begun():
		return nil, fmt.Errorf("opening session %q: %w", id, errDraining)
	case len(s.sessions)+s.coming >= s.cfg.Limits.Sessions:
		return nil, fmt.Errorf("opening session %q: %w", id, &limitError{kind: limitSessions, value: int64(s.cfg.Limits.Sessions)})
	}
	s.coming++
	return &room{svc: s, kept: true}, nil
}

// release gives the place back, unless the session has it. It is idempotent.
func (r *room) release() {
	r.svc.mu.Lock()
	defer r.svc.mu.Unlock()
	r.leaveLocked()
}

// leaveLocked does so for who holds the lock.
func (r *room) leaveLocked() {
	if r.kept {
		r.kept = false
		r.svc.coming--
		r.svc.lessened()
	}
}

// open starts a session in the pool and lets the store follow it. The session is in the store already, and this process owns it. It is opened in its place
// also in a drain, which hands it on, but not when that is over: errDraining. yield is called when an opened session is forgotten.
func (s *Service) open(rec resolverstore.Session, servers []rtcpool.ICEServer, in *room, yield func()) (*session, error) {
	live := newSession(s, rec)
	live.yield, live.servers = yield, servers
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.drain.over.Err() != nil {
		return nil, fmt.Errorf("opening session %q: %w", rec.Key.ID, errDraining)
	}
	rtc, err := s.cfg.Pool.Open(rtcpool.SessionConfig{
		ID: logName(rec.Key), ICEServers: servers, Grace: rec.Grace, MinGeneration: rec.MinGeneration,
		Observer: observer{live.mirror, live.hub},
	})
	if err != nil {
		return nil, fmt.Errorf("opening session %q: %w", rec.Key.ID, err)
	}
	live.rtc = rtc
	s.sessions[rec.Key] = live
	in.leaveLocked()
	s.ended.Go(live.follow)
	s.loadChanged()
	return live, nil
}

// forget takes a session that has ended out of the open ones.
func (s *Service) forget(v *session) {
	v.yield()
	defer close(v.vacant)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[v.key] == v {
		delete(s.sessions, v.key)
		s.loadChanged()
		s.lessened()
	}
}

// session returns an open session that this process owns, as far as it knows, or nil. The store may know of another owner before the session's guard does.
func (s *Service) session(k resolverstore.SessionKey) *session {
	if v := s.held(k); v != nil && v.moved.Err() == nil && !s.cfg.Store.Deposed(v.key, v.fence) {
		return v
	}
	return nil
}

// held returns what is here of a session, even while it is being closed because another process has it, or nil.
func (s *Service) held(k resolverstore.SessionKey) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[k]
}

// lookup returns an open session, or why there is none.
func (s *Service) lookup(ctx context.Context, k resolverstore.SessionKey) (*session, error) {
	if v := s.session(k); v != nil {
		return v, nil
	}
	rec, err := s.cfg.Store.GetSession(ctx, k)
	if err != nil {
		return nil, fmt.Errorf("looking up session %q: %w", k.ID, err)
	}
	if rec.State != resolverstore.SessionEnded && rec.Fence.Owner != s.cfg.Owner {
		return nil, fmt.Errorf("session %q: %w", k.ID, errMoved)
	}
	// Ended, or about to be opened or ended by a call that runs at this moment.
	return nil, fmt.Errorf("session %q, state %d: %w", rec.Key.ID, rec.State, resolverstore.ErrSessionEnded)
}

// keyIn returns the store's key of a session that a caller names: it can name none but those of its own tenant.
func keyIn(ctx context.Context, id string) resolverstore.SessionKey {
	return resolverstore.SessionKey{Tenant: identity.Tenant(ctx), ID: id}
}

// logName names a session in logs, and to the pool, where those of all tenants are: "id", or "tenant/id". No id has a slash.
func logName(k resolverstore.SessionKey) string {
	if k.Tenant == "" {
		return k.ID
	}
	return k.Tenant + "/" + k.ID
}
