package rtcpool

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool/internal/network"
)

// The defaults of Config.
const (
	defaultGatherTimeout = 2 * time.Second
	defaultGrace         = 30 * time.Second
	defaultMaxSDPBytes   = 1 << 20

	defaultConsentTimeout = 15 * time.Second
	// trimInterval is how often freed C memory is given back while sessions are open.
	trimInterval = 10 * time.Second
)

// Pool holds all sessions of the process. All methods are safe for concurrent use.
type Pool struct {
	cfg     Config
	network *network.Network
	mediaID atomic.Uint64
	mediaOf string // random: media of another process have other ids
	stats   counters

	mu       sync.Mutex
	closed   bool
	trimmed  time.Time
	sessions map[string]*Session
}

// New returns an empty pool. Close must be called. Errors: ErrConfig.
func New(cfg Config) (*Pool, error) {
	switch {
	case cfg.Decoders == nil:
		return nil, fmt.Errorf("%w: Decoders is required", ErrConfig)
	case cfg.Tracer == nil:
		return nil, fmt.Errorf("%w: Tracer is required; a no-op tracer will do", ErrConfig)
	case cfg.GatherTimeout < 0 || cfg.Grace < 0 || cfg.MaxSDPBytes < 0 || cfg.ConsentTimeout < 0:
		return nil, fmt.Errorf("%w: GatherTimeout, Grace, MaxSDPBytes and ConsentTimeout cannot be negative", ErrConfig)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.GatherTimeout = orDefault(cfg.GatherTimeout, defaultGatherTimeout)
	cfg.Grace = orDefault(cfg.Grace, defaultGrace)
	cfg.ConsentTimeout = orDefault(cfg.ConsentTimeout, defaultConsentTimeout)
	cfg.MaxSDPBytes = orDefault(cfg.MaxSDPBytes, defaultMaxSDPBytes)
	if err := cfg.Network.complete(); err != nil {
		return nil, err
	}
	p := &Pool{cfg: cfg, mediaOf: rand.Text()[:8], sessions: make(map[string]*Session)}
	var err error
	if p.network, err = network.New(cfg.network()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return p, nil
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Open starts a session. ErrConfig for one that cannot be used, ErrExists when the id is taken, ErrClosed when the pool is closed.
func (p *Pool) Open(cfg SessionConfig) (*Session, error) {
	if cfg.ID == "" || cfg.Observer == nil || cfg.Grace < 0 {
		return nil, fmt.Errorf("%w: a session needs an ID and an Observer, and a Grace that is not negative", ErrConfig)
	}
	if _, err := iceServers(cfg.ICEServers); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if _, ok := p.sessions[cfg.ID]; ok {
		return nil, fmt.Errorf("opening %q: %w", cfg.ID, ErrExists)
	}
	s := newSession(p, cfg)
	p.sessions[cfg.ID] = s
	go s.run()
	return s, nil
}

// Session returns an open session, or nil.
func (p *Pool) Session(id string) *Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sessions[id]
}

// Close ends every session and waits for them, or for ctx.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	open := make([]*Session, 0, len(p.sessions))
	for _, s := range p.sessions {
		open = append(open, s)
	}
	p.mu.Unlock()
	for _, s := range open {
		s.end(EndClosed)
	}
	for _, s := range open {
		select {
		case <-s.done:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("closing the pool: %w", ctx.Err()), p.network.Close())
		}
	}
	return p.network.Close()
}

// Protect names addresses on which this process itself serves: candidates that lead there are refused. The shared ports are
// protected without it.
func (p *Pool) Protect(addrs ...netip.AddrPort) { p.network.Protect(addrs...) }

// forget takes a session out. When it was the last one, or the last time is a while ago, memory that codecs have freed goes
// back to the system.
func (p *Pool) forget(s *Session) {
	p.mu.Lock()
	delete(p.sessions, s.id)
	now := time.Now()
	trim := len(p.sessions) == 0 || now.Sub(p.trimmed) > trimInterval
	if trim {
		p.trimmed = now
	}
	p.mu.Unlock()
	if trim {
		media.TrimCMemory()
	}
}

// newMediaID returns an id that no process ever used, since a session may go on in another one.
func (p *Pool) newMediaID() string {
	return "md" + p.mediaOf + strconv.FormatUint(p.mediaID.Add(1), 36)
}
