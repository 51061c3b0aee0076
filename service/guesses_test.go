package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/connector/whip"
	"github.com/penstock-media/penstock/service/internal/identity"
)

// guessing returns a token of another signature than any other, which fails.
func guessing(good string, n int) string {
	return good[:strings.LastIndex(good, ".")+1] + fmt.Sprintf("%043d", n)
}

// TestO3_GuessedCredentialsHaveARate: who shows credentials that fail faster than the limit is told to try later, over gRPC and over WHIP alike; those that are known to be bad are not
// looked at again. Good ones from the same address are served all the time, those too that nobody has seen before, and another address has its own rate.
func TestO3_GuessedCredentialsHaveARate(t *testing.T) {
	g := startGateway(t, withJWT, func(c *Config) { c.Limits = Limits{FailedAuthRate: 1, FailedAuthBurst: 5} })
	good := claimed(t, "acme")
	call := func(token string) error {
		_, err := g.sessions.ListSessions(withToken(g.ctx, token), &penstockv1.ListSessionsRequest{})
		return err
	}
	refused := 0
	for n := 0; g.svc.AuthStats().Unchecked["known"] == 0; n++ {
		bad := guessing(good, n/2) // each twice
		if err := call(bad); status.Code(err) == codes.ResourceExhausted {
			wantLimit(t, err, limitFailedAuthRate, 1)
			refused++
		} else {
			wantStatus(t, err, codes.Unauthenticated, "UNAUTHENTICATED")
		}
		if n == 1000 {
			t.Fatal("nothing is refused")
		}
	}
	if n := g.refused(limitFailedAuthRate); refused == 0 || n != uint64(refused) {
		t.Errorf("%d were refused, %d counted", refused, n)
	}
	for n := range 50 {
		must(t, call(good))
		must(t, call(claimed(t, "acme", claim("n", n)))) // nobody has seen it before
		_ = call(guessing(good, -1))
	}
	err := call("")
	wantStatus(t, err, codes.Unauthenticated, "UNAUTHENTICATED") // who shows nothing guesses nothing

	h, err := whip.New(whip.Config{Sessions: g.svc.WHIP(), Authorize: g.svc.AuthorizeWHIP, Reason: WHIPReason, Logger: g.svc.cfg.Logger})
	must(t, err)
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	for n := 0; ; n++ { // over HTTP, from the same address
		code, header, body := g.whipBy(s.URL, guessing(good, -2))
		if code == http.StatusTooManyRequests {
			if header.Get("Retry-After") == "" || !strings.Contains(body, `"LIMIT_REACHED"`) || header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%v %s", header, body)
			}
			break
		}
		if code != http.StatusUnauthorized || n == 1000 {
			t.Fatalf("%d %s", code, body)
		}
	}
	if code, _, body := g.whipBy(s.URL, claimed(t, "acme", claim("n", "whip"))); code == http.StatusUnauthorized || code == http.StatusTooManyRequests {
		t.Errorf("a good token: %d %s", code, body)
	}
	_, err = penstockv1.NewSessionServiceClient(g.dialFrom("127.0.0.2")).ListSessions(withToken(g.ctx, guessing(good, -3)), &penstockv1.ListSessionsRequest{})
	wantStatus(t, err, codes.Unauthenticated, "UNAUTHENTICATED")
}

// withToken shows a token.
func withToken(ctx context.Context, token string) context.Context {
	if token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// whipBy publishes by a token what is no offer.
func (g *gateway) whipBy(url, token string) (int, http.Header, string) {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.ctx, http.MethodPost, url+"/whip/x", strings.NewReader("v=0\r\n"))
	must(g.t, err)
	r.Header.Set("Content-Type", "application/sdp")
	r.Header.Set("Authorization", "Bearer "+token)
	a, err := http.DefaultClient.Do(r)
	must(g.t, err)
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	must(g.t, err)
	return a.StatusCode, a.Header, string(body)
}

// guessClock is guesses with a clock that a test sets, and a log.
type guessClock struct {
	*guesses
	now    time.Time
	log    lockedBuffer
	checks int
}

func newGuessClock(rate, burst int) *guessClock {
	c := &guessClock{now: time.Unix(1000, 0)}
	c.guesses = newGuesses(Limits{FailedAuthRate: rate, FailedAuthBurst: burst}, &refusals{}, slog.New(slog.NewTextHandler(&c.log, nil)))
	c.rates.now = func() time.Time { return c.now }
	return c
}

// show has a token checked, with an answer.
func (c *guessClock) show(token string, answer error) error {
	_, err := c.check(context.Background(), "192.0.2.1:1", credentialsOf(token), func(context.Context) (identity.Identity, error) {
		c.checks++
		return identity.Identity{}, answer
	})
	return err
}

// TestO3_WhatIsRefusedUnchecked: by the clock, nothing within the rate, and beyond it what was bad ten seconds before or less; never what may become good at any moment, what was good
// before, and what fails by nobody's fault. The log tells once a minute.
func TestO3_WhatIsRefusedUnchecked(t *testing.T) {
	c := newGuessClock(1, 3)
	must(t, c.show("good", nil))
	for range 3 {
		if err := c.show("bad", identity.ErrSignature); !errors.Is(err, identity.ErrSignature) {
			t.Errorf("within the rate: %v", err)
		}
	}
	before := c.checks
	var limit *limitError
	for range 10 {
		if err := c.show("bad", identity.ErrSignature); !errors.As(err, &limit) || limit.RetryAfter() != badFor {
			t.Errorf("known to be bad: %v", err)
		}
	}
	if c.checks != before || c.Unchecked("known") != 10 {
		t.Errorf("%d were checked, %d refused unchecked", c.checks-before, c.Unchecked("known"))
	}
	for name, answer := range map[string]error{"signature": identity.ErrSignature, "key": identity.ErrKey, "early": identity.ErrNotYet} {
		if err := c.show(name, answer); !errors.Is(err, errLimit) {
			t.Errorf("%s that nobody knew: %v", name, err)
		}
	}
	must(t, c.show("key", nil))
	must(t, c.show("early", nil))
	if err := c.show("signature", nil); !errors.Is(err, errLimit) {
		t.Errorf("known to be bad: %v", err)
	}
	if err := c.show("old", identity.ErrExpired); !errors.Is(err, identity.ErrExpired) {
		t.Errorf("expired: %v", err)
	}
	if err := c.show("away", identity.ErrUnavailable); !errors.Is(err, identity.ErrUnavailable) {
		t.Errorf("without keys: %v", err)
	}
	must(t, c.show("good", nil))
	if err := c.show("good", identity.ErrExpired); !errors.Is(err, identity.ErrExpired) {
		t.Errorf("what was good: %v", err)
	}
	if n := strings.Count(c.log.String(), "--failed-auth-rate"); n != 1 {
		t.Errorf("the log tells %d times:\n%s", n, c.log.String())
	}
	c.now = c.now.Add(badFor)
	must(t, c.show("bad", nil)) // keys have changed
	c.now = c.now.Add(guessesEvery)
	for range 4 {
		_ = c.show("signature", identity.ErrSignature)
	}
	if n := strings.Count(c.log.String(), "--failed-auth-rate"); n != 2 {
		t.Errorf("after a minute the log tells %d times:\n%s", n, c.log.String())
	}
}

// Unchecked returns how many were refused unchecked for a reason.
func (c *guessClock) Unchecked(name string) uint64 {
	for why, n := range uncheckedNames {
		if n == name {
			return c.unchecked[why].Load()
		}
	}
	return 0
}

// TestO3_UnknownCredentialsWaitForTheirTurn: of an address over its rate no more checks run at one time than the lane is wide, no more wait than have places, and what was good before waits for none
// of them.
func TestO3_UnknownCredentialsWaitForTheirTurn(t *testing.T) {
	c := newGuessClock(1, 1)
	must(t, c.show("good", nil))
	_ = c.show("bad", identity.ErrSignature)
	release, under := make(chan struct{}), make(chan struct{}, 1000)
	var work sync.WaitGroup
	slow := func(n int) {
		work.Go(func() {
			_, _ = c.check(context.Background(), "192.0.2.1:1", credentialsOf(fmt.Sprint(n)), func(context.Context) (identity.Identity, error) {
				under <- struct{}{}
				<-release
				return identity.Identity{}, nil
			})
		})
	}
	for n := range cap(c.lane) {
		slow(n)
	}
	for range cap(c.lane) {
		<-under
	}
	for n := range linePlaces + 1 {
		slow(1000 + n)
	}
	for tick := time.NewTicker(time.Millisecond); c.Unchecked("line") == 0; <-tick.C { // one finds no place, or loses its patience
	}
	if len(under) != 0 {
		t.Errorf("%d more checks are under way than the lane is wide", len(under))
	}
	must(t, c.show("good", nil))
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.check(gone, "192.0.2.1:1", credentialsOf("gone"), nil); err == nil {
		t.Error("who is gone is checked")
	}
	close(release)
	work.Wait()
	if len(c.lane) != 0 || len(c.places.has) != 0 || c.line.n.Load() != 0 {
		t.Errorf("left are %d in the lane, %v and %d in the line", len(c.lane), c.places.has, c.line.n.Load())
	}
}

// TestO3_UnknownCredentialsWithinTheRateAreBounded: checks wait for keys before it is known that they fail; those that are too many at one time go the way of an address over its rate, whosever they are, and
// what was good before does not.
func TestO3_UnknownCredentialsWithinTheRateAreBounded(t *testing.T) {
	c := newGuessClock(1, 1)
	c.unknown.limit = 2
	inLane := func(address, token string) (in bool) {
		_, err := c.check(context.Background(), address, credentialsOf(token), func(ctx context.Context) (identity.Identity, error) {
			_, in = ctx.Deadline() // what waits for keys in the lane does so for a short time
			return identity.Identity{}, nil
		})
		must(t, err)
		return in
	}
	if inLane("192.0.2.1:1", "good") {
		t.Error("alone it is in the lane")
	}
	release, under := make(chan struct{}), make(chan struct{})
	var work sync.WaitGroup
	for n := range c.unknown.limit {
		work.Go(func() {
			_, _ = c.check(context.Background(), fmt.Sprintf("192.0.2.%d:1", 10+n), credentialsOf(fmt.Sprint(n)), func(context.Context) (identity.Identity, error) {
				under <- struct{}{}
				<-release
				return identity.Identity{}, identity.ErrKey
			})
		})
		<-under
	}
	if !inLane("192.0.2.1:1", "fresh") || inLane("192.0.2.1:1", "good") {
		t.Error("one too many is not in the lane, or what was good is")
	}
	close(release)
	work.Wait()
	if inLane("192.0.2.1:1", "later") || c.unknown.n.Load() != 0 {
		t.Errorf("when they are over another one is in the lane, or %d places are kept", c.unknown.n.Load())
	}
}

// TestO3_RememberedCredentialsAreBounded: what was added last is remembered, and no more than twice the size of it.
func TestO3_RememberedCredentialsAreBounded(t *testing.T) {
	r, now := newRecent(100), time.Unix(1000, 0)
	for n := range uint64(1000) {
		r.add(n, now, time.Minute)
		if !r.has(n, now) || n > 100 && !r.has(n-100+1, now) {
			t.Fatalf("%d, or the 100th before it, is not remembered", n)
		}
		if len(r.now)+len(r.before) > 200 {
			t.Fatalf("%d are remembered", len(r.now)+len(r.before))
		}
	}
	r.forget(999)
	if r.has(999, now) || r.has(998, now.Add(time.Minute)) || r.left(998, now.Add(59*time.Second)) != time.Second {
		t.Error("it is remembered too long")
	}
	c := newGuessClock(1, 1)
	for n := range 2 * maxBuckets {
		c.rates.spend(fmt.Sprint(n))
		_ = c.rates.empty("nobody")
	}
	if len(c.rates.known) != maxBuckets || c.rates.known["nobody"] != nil {
		t.Errorf("%d addresses are remembered", len(c.rates.known))
	}
}

// BenchmarkGuessesOfGood is what the limit adds to a call with a token of 1 KiB that is good.
func BenchmarkGuessesOfGood(b *testing.B) {
	g := newGuesses(Limits{FailedAuthRate: 10, FailedAuthBurst: 100}, &refusals{}, slog.New(slog.DiscardHandler))
	shown := credentialsOf(strings.Repeat("x", 1024))
	for b.Loop() {
		if _, err := g.check(b.Context(), "192.0.2.1:1", shown, func(context.Context) (identity.Identity, error) { return identity.Identity{}, nil }); err != nil {
			b.Fatal(err)
		}
	}
}
