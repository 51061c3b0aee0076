package whip

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool"
	"go.opentelemetry.io/otel/trace/noop"
)

// hang is how long a test waits for what must happen.
const hang = time.Minute

// gateway implements Sessions over a real pool, as service does, without participants and stores.
type gateway struct {
	pool *rtcpool.Pool

	mu       sync.Mutex
	resource map[string]string // by session
	last     Publisher
	media    map[string]rtcpool.Media
	changed  chan struct{}
	trickled []rtcpool.Candidate
	ended    bool // the last Trickle told end-of-candidates
	fault    error
}

func (g *gateway) Publish(ctx context.Context, sessionID string, p Publisher, offer string) (Publication, error) {
	if g.fault != nil {
		return Publication{}, g.fault
	}
	s, err := g.pool.Open(rtcpool.SessionConfig{ID: sessionID, Observer: g})
	if errors.Is(err, rtcpool.ErrExists) {
		return Publication{}, fmt.Errorf("publishing: %w", ErrConflict)
	}
	if err != nil {
		return Publication{}, err
	}
	answer, err := answerOf(s.Negotiate(ctx, rtcpool.Offer{SDP: offer}))
	if err != nil {
		s.Close()
		return Publication{}, err
	}
	resource := rand.Text()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.resource[sessionID], g.last = resource, p
	return Publication{ResourceID: resource, AnswerSDP: answer}, nil
}

func answerOf(r rtcpool.Result, err error) (string, error) {
	var bad *rtcpool.SDPError
	switch {
	case errors.As(err, &bad):
		return "", &InvalidOfferError{Malformed: true, Detail: bad.Error(), Err: err}
	case errors.Is(err, rtcpool.ErrNoMedia):
		return "", &InvalidOfferError{Detail: "the offer has no media; add a track", Err: err}
	case err != nil:
		return "", err
	case r.Answer == nil:
		return "", ErrUnavailable
	}
	return r.Answer.SDP, nil
}

func (g *gateway) session(sessionID, resourceID string) (*rtcpool.Session, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.pool.Session(sessionID)
	if s == nil || g.resource[sessionID] != resourceID {
		return nil, fmt.Errorf("publication %s: %w", resourceID, ErrNotFound)
	}
	return s, nil
}

func (g *gateway) Trickle(ctx context.Context, sessionID, resourceID string, c []rtcpool.Candidate, end bool) error {
	s, err := g.session(sessionID, resourceID)
	if err != nil {
		return err
	}
	for _, candidate := range c {
		if _, err := s.AddCandidate(ctx, 0, candidate); err != nil {
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trickled = append(g.trickled, c...)
	g.ended = end
	return nil
}

func (g *gateway) RestartICE(ctx context.Context, sessionID, resourceID, ufrag, pwd string, c []rtcpool.Candidate) (string, error) {
	s, err := g.session(sessionID, resourceID)
	if err != nil {
		return "", err
	}
	return answerOf(s.RestartICE(ctx, ufrag, pwd, c))
}

func (g *gateway) Unpublish(_ context.Context, sessionID, resourceID string) error {
	s, err := g.session(sessionID, resourceID)
	if err != nil {
		return err
	}
	s.Close()
	return nil
}

func (g *gateway) MediaChanged(d rtcpool.MediaDiff) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range append(append([]rtcpool.Media(nil), d.Added...), d.Updated...) {
		g.media[m.Kind.String()] = m
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

func (*gateway) CandidateGathered(uint64, rtcpool.Candidate) {}
func (*gateway) RestartNeeded(rtcpool.Restart)               {}

func (g *gateway) StateChanged(uint64, rtcpool.State)    {}
func (g *gateway) SessionEnded(reason rtcpool.EndReason) {}

// flowing waits for packets of a kind.
func (g *gateway) flowing(t *testing.T, kind media.Kind) rtcpool.Media {
	t.Helper()
	limit := time.NewTimer(hang)
	defer limit.Stop()
	for {
		g.mu.Lock()
		m, changed := g.media[kind.String()], g.changed
		g.mu.Unlock()
		if m.SSRC != 0 {
			return m
		}
		select {
		case <-changed:
		case <-limit.C:
			t.Fatalf("no packets of %v within %v", kind, hang)
		}
	}
}

// server is a handler over a gateway, served on loopback.
type server struct {
	*httptest.Server
	gateway *gateway
}

func newServer(t *testing.T, change func(*Config)) *server {
	t.Helper()
	decoders := media.NewDecodePool(16) // no picture waits for a worker, however busy the machine
	pool, err := rtcpool.New(rtcpool.Config{Decoders: decoders, Tracer: noop.NewTracerProvider().Tracer("test"), Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{pool: pool, resource: make(map[string]string), media: make(map[string]rtcpool.Media), changed: make(chan struct{})}
	cfg := Config{Sessions: g}
	if change != nil {
		change(&cfg)
	}
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Server: httptest.NewServer(h), gateway: g}
	t.Cleanup(func() {
		s.Close()
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := pool.Close(ctx); err != nil {
			t.Error(err)
		}
		decoders.Close()
	})
	return s
}

// reply is a response, read.
type reply struct {
	status int
	header http.Header
	body   string
}

// call sends a request; headers come as pairs.
func (s *server) call(t *testing.T, method, path, body string, headers ...string) reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{status: res.StatusCode, header: res.Header, body: string(b)}
}
