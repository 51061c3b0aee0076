package service

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/penstock-media/penstock/connector/whip"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/resolverstore"
)

// errLost is what a publisher sees whose answer is lost.
var errLost = errors.New("the answer is lost")

// loser carries requests, and loses the answers.
type loser struct {
	*http.Transport
	offer, location, answer string
}

// RoundTrip implements http.RoundTripper.
func (l *loser) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	a, err := l.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = a.Body.Close() }()
	answer, err := io.ReadAll(a.Body)
	if err != nil {
		return nil, err
	}
	l.offer, l.location, l.answer = string(body), a.Header.Get("Location"), string(answer)
	return nil, errLost
}

// TestC1_LostAnswerIsGivenAgain: the answer to a publisher's offer is lost. The same offer again gets the same answer, and the same resource; any other one is refused, and so is the same
// one when an ICE restart has put another in its place.
func TestC1_LostAnswerIsGivenAgain(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.WHIPCreate = true })
	way := &loser{Transport: &http.Transport{}}
	t.Cleanup(way.CloseIdleConnections)
	_, err := sfutest.PublishWHIP(g.ctx, sfutest.WHIPConfig{URL: g.whipEndpoint() + "studio?user=bob", Clips: []clips.Clip{clips.BobCamera()}, Client: &http.Client{Transport: way}})
	if !errors.Is(err, errLost) || way.location == "" {
		t.Fatalf("%v, location %q", err, way.location)
	}
	sessions, bob := g.svc.WHIP(), whip.Publisher{UserID: "bob"}
	resource := way.location[strings.LastIndex(way.location, "/")+1:]
	for range 2 {
		again, err := sessions.Publish(g.ctx, "studio", bob, way.offer)
		must(t, err)
		if again.ResourceID != resource || again.AnswerSDP != way.answer {
			t.Errorf("the resource is %q, not %q; the answer\n%s\nnot\n%s", again.ResourceID, resource, again.AnswerSDP, way.answer)
		}
	}
	refused := func(what string, p whip.Publisher, offer string) {
		t.Helper()
		if _, err := sessions.Publish(g.ctx, "studio", p, offer); !errors.Is(err, whip.ErrConflict) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("somebody else", whip.Publisher{UserID: "alice"}, way.offer)
	refused("another offer", bob, way.offer+"a=another\r\n")
	_, err = sessions.RestartICE(g.ctx, "studio", resource, "abcd", "0123456789012345678901", nil)
	must(t, err)
	refused("after an ICE restart", bob, way.offer)
	must(t, sessions.Unpublish(g.ctx, "studio", resource))
}

// listener carries no request, and keeps the offer in it.
type listener struct{ offer string }

// RoundTrip implements http.RoundTripper.
func (l *listener) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	l.offer = string(body)
	return nil, errors.Join(err, errLost)
}

// mute is a store in which the first events that are told wait for their caller's end.
type mute struct {
	resolverstore.Store
	told sync.Once
	in   chan struct{} // closed when they are
}

// ApplyEvents implements resolverstore.Store.
func (s *mute) ApplyEvents(ctx context.Context, k resolverstore.SessionKey, events []resolverstore.Event) (resolverstore.Applied, error) {
	first := false
	s.told.Do(func() { first = true })
	if first {
		close(s.in)
		<-ctx.Done()
		return resolverstore.Applied{}, context.Cause(ctx)
	}
	return s.Store.ApplyEvents(ctx, k, events)
}

// waits is a context that tells when somebody waits for its end.
type waits struct {
	context.Context
	once sync.Once
	on   chan struct{}
}

// Done implements context.Context.
func (w *waits) Done() <-chan struct{} {
	w.once.Do(func() { close(w.on) })
	return w.Context.Done()
}

// TestC1_OfferThatComesAgainWaitsForTheFirst: a publisher's connection is lost while its offer is answered, and the same offer comes again. It is not answered before it is known what becomes of the first,
// which fails: it is to come once more, and is a publication like any other then.
func TestC1_OfferThatComesAgainWaitsForTheFirst(t *testing.T) {
	store := &mute{in: make(chan struct{})}
	g := startGateway(t, func(c *Config) {
		store.Store = c.Store
		c.Store = store
	})
	g.create("studio")
	way := &listener{}
	_, err := sfutest.PublishWHIP(g.ctx, sfutest.WHIPConfig{URL: g.whipEndpoint() + "studio?user=bob", Clips: []clips.Clip{clips.BobCamera()}, Client: &http.Client{Transport: way}})
	if !errors.Is(err, errLost) || way.offer == "" {
		t.Fatalf("%v, offer %q", err, way.offer)
	}
	sessions, bob := g.svc.WHIP(), whip.Publisher{UserID: "bob"}
	publish := func(ctx context.Context) <-chan error {
		out := make(chan error, 1)
		go func() {
			_, err := sessions.Publish(ctx, "studio", bob, way.offer)
			out <- err
		}()
		return out
	}
	lost, lose := context.WithCancel(g.ctx)
	defer lose()
	first := publish(lost)
	<-store.in
	again := &waits{Context: g.ctx, on: make(chan struct{})}
	second := publish(again)
	<-again.on
	lose()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first comes to %v", err)
	}
	if err := <-second; !errors.Is(err, whip.ErrUnavailable) {
		t.Errorf("the second comes to %v", err)
	}
	p, err := sessions.Publish(g.ctx, "studio", bob, way.offer)
	must(t, err)
	if tracks := g.listed("studio"); tracks["bob SOURCE_CAMERA"] == nil {
		t.Errorf("it has the tracks %v", tracks)
	}
	must(t, sessions.Unpublish(g.ctx, "studio", p.ResourceID))
}

// TestC1_MovingSessionAsksToTryAgain: a session that another pod has, or is about to have, is no conflict.
func TestC1_MovingSessionAsksToTryAgain(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.WHIPCreate = true })
	_, _, err := g.store.CreateSession(g.ctx, resolverstore.Session{Key: key("studio"), Fence: resolverstore.Fence{Owner: "elsewhere", Epoch: 1}, RequestHash: "its own"})
	must(t, err)
	if _, err := g.svc.WHIP().Publish(g.ctx, "studio", whip.Publisher{UserID: "bob"}, "v=0\r\n"); !errors.Is(err, whip.ErrUnavailable) {
		t.Errorf("it is refused with %v", err)
	}
	if err := whipError(errMoved); !errors.Is(err, whip.ErrUnavailable) {
		t.Errorf("one that moved meanwhile: %v", err)
	}
}
