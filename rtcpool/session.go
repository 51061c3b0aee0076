package rtcpool

import (
	"context"
	"go.opentelemetry.io/otel/trace"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	closeTimeout = 2 * time.Second         // of Session.Close
	peerTimeout  = 1500 * time.Millisecond // of one peer connection; within closeTimeout
	drainTimeout = 2 * time.Second         // of an older generation
	// politeTimeout is how long a peer connection may take to say goodbye before its sockets are closed under it.
	politeTimeout = 300 * time.Millisecond
)

// Session is one subscriber's view of one call. All methods are safe for concurrent use.
type Session struct {
	pool     *Pool
	id       string
	cfg      SessionConfig
	grace    time.Duration
	observer Observer
	log      *slog.Logger

	ctx    context.Context // ends when the session is to end
	cancel context.CancelFunc
	done   chan struct{}
	reason atomic.Uint32 // an EndReason

	commands chan func()   // run by the session's goroutine
	started  chan *reader  // tracks that pion has begun to receive
	wake     chan struct{} // something of a peer connection has changed; look

	relayLost chan struct{} // a TURN server refused to refresh

	actor // owned by the session's goroutine

	mu   sync.RWMutex
	view map[string]Media // what was reported last

	spans map[string][]trace.SpanContext // of the first and the last negotiation of media, where one is kept
}

// actor is the state that only the session's goroutine touches.
type actor struct {
	current, draining *peer
	waiting           []*negotiation // offers whose turn has not come
	busy              *negotiation   // the one that gathers candidates
	kept              keptCandidates
	serversChanged    bool             // since the current generation was made
	contested         []netip.AddrPort // remote addresses that others on a shared port talked to; the first maxContested
	asked             int              // mDNS names that were looked up
	entries           []*entry
	closing           sync.WaitGroup // of peer connections

	graceTimer, drainTimer, gatherTimer *time.Timer
	graceRuns                           bool
}

func newSession(p *Pool, cfg SessionConfig) *Session {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Session{
		pool: p, id: cfg.ID, cfg: cfg, observer: cfg.Observer, ctx: ctx, cancel: cancel,
		grace:    orDefault(cfg.Grace, p.cfg.Grace),
		log:      p.cfg.Logger.With("session", cfg.ID),
		done:     make(chan struct{}),
		commands: make(chan func()),
		started:  make(chan *reader),
		wake:     make(chan struct{}, 1),

		relayLost: make(chan struct{}, 1),
		view:      make(map[string]Media),
	}
	s.kept = make(keptCandidates)
	s.graceTimer, s.drainTimer, s.gatherTimer = stoppedTimer(), stoppedTimer(), stoppedTimer()
	s.startGrace()
	return s
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// run is the session's goroutine: everything that changes the session happens here, one thing at a time.
func (s *Session) run() {
	defer close(s.done)
	for s.ctx.Err() == nil {
		select {
		case <-s.ctx.Done():
		case command := <-s.commands:
			command()
		case r := <-s.started:
			s.startReader(r)
		case <-s.wake:
			s.refresh()
		case <-s.relayLost:
			s.tellRelayLost()
		case <-s.busy.gathered():
			s.finishNegotiation()
		case <-s.gatherTimer.C:
			s.finishNegotiation()
		case <-s.drainTimer.C:
			s.endDrain("time is up")
		case <-s.graceTimer.C:
			s.end(s.lostReason())
		}
		s.nextNegotiation()
	}
	s.finish()
}

// do runs f on the session's goroutine. It returns false when the session has ended, and ctx's error.
func (s *Session) do(ctx context.Context, f func()) (bool, error) {
	select {
	case <-s.ctx.Done():
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	case s.commands <- f:
		return true, nil
	}
}

// changed tells the session's goroutine to look at its peer connections. It never blocks.
func (s *Session) changed() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// startGrace lets the time run in which the session may be without a connected peer connection.
func (s *Session) startGrace() {
	if !s.graceRuns {
		s.graceTimer.Reset(s.grace)
		s.graceRuns = true
	}
}

func (s *Session) stopGrace() {
	s.graceTimer.Stop()
	s.graceRuns = false
}

// lostReason says why a session ends whose grace is over.
func (s *Session) lostReason() EndReason {
	switch {
	case s.current == nil:
		return EndSignallingLost
	case s.current.state == StateClosed:
		return EndRemoteClosed
	}
	return EndMediaLost
}

// end makes the session end; the first reason counts.
func (s *Session) end(reason EndReason) {
	s.reason.CompareAndSwap(0, uint32(reason))
	s.cancel()
}

// finish is the end of the session's goroutine.
func (s *Session) finish() {
	s.dropAll(DropClosed)
	s.stopGrace()
	s.drainTimer.Stop()
	s.gatherTimer.Stop()
	for _, p := range []*peer{s.draining, s.current} {
		if p != nil {
			s.closePeer(p)
		}
	}
	s.closing.Wait()
	s.report()
	s.pool.forget(s)
	s.observer.SessionEnded(EndReason(s.reason.Load()))
}

// Media returns the received media of that id, or false.
func (s *Session) Media(id string) (Media, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m, ok := s.view[id]
	return m, ok
}

// Negotiations returns links to the negotiations of media: the one that announced them, and the last one, as far as their traces are kept.
func (s *Session) Negotiations(media string) (links []trace.Link) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i, sc := range s.spans[media] {
		if sc.IsSampled() && (i == 0 || !sc.Equal(s.spans[media][0])) {
			links = append(links, trace.Link{SpanContext: sc})
		}
	}
	return links
}

// SetICEServers replaces the STUN and TURN servers of the session. They are used from the next generation, or the next
// ICE restart of the current one, on. Errors: ErrConfig for a URL that cannot be used, and ctx's.
func (s *Session) SetICEServers(ctx context.Context, servers []ICEServer) error {
	if _, err := iceServers(servers); err != nil {
		return err
	}
	_, err := s.do(ctx, func() {
		s.cfg.ICEServers = servers
		s.serversChanged = s.current != nil
	})
	return err
}

// Close ends the session and waits at most 2 s for it. It is idempotent.
func (s *Session) Close() {
	s.end(EndClosed)
	t := time.NewTimer(closeTimeout)
	defer t.Stop()
	select {
	case <-s.done:
	case <-t.C:
		s.log.Warn("session does not end in time", "timeout", closeTimeout)
	}
}

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }
