package service

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
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
