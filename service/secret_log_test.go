package service

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool"
)

// TestO3_NothingSecretIsLogged runs calls of all kinds at the level of debugging, good and bad, over two pods and WHIP, and negotiates media that is streamed, over an ICE restart: no part of a token, a secret, a
// credential or one of the ICE passwords of both sides is in the log.
func TestO3_NothingSecretIsLogged(t *testing.T) {
	var log lockedBuffer
	pods := startSteadyPods(t, 2, withJWT, func(c *Config) {
		c.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.Token = "a-shared-token-of-this-test"
		c.Pool = debuggedPool(t, c.Logger)
	})
	tokens := badTokens(t)
	tokens["good"] = claimed(t, "acme")
	all := rpcsOf(t, pods[0].gateway)
	good := pods[0].as(tokens["good"])
	_, err := good.sessions.CreateSession(good.ctx, &penstockv1.CreateSessionRequest{SessionId: "call", IceServers: []*penstockv1.IceServer{
		{Urls: []string{"turn:127.0.0.1:9?transport=udp"}, Username: "turn-user-one", Credential: "turn-credential-one"},
	}})
	must(t, err)
	passwords := negotiated(t, pods, tokens["good"])
	url := pods[1].whipOfPod()
	for name, token := range tokens {
		conn := pods[1].as(token).conn
		for _, m := range all {
			ctx, cancel := context.WithTimeout(pods[1].ctx, 50*time.Millisecond)
			_ = m.call(ctx, conn, m.request("call")) // what comes of it others test
			cancel()
		}
		if name != "good" {
			wantWHIP(t, pods[1], http.MethodPost, url+"call", token, name, http.StatusUnauthorized)
		}
	}
	_, err = pods[1].as("a-shared-token-of-this-test").sessions.ListSessions(good.ctx, &penstockv1.ListSessionsRequest{})
	must(t, err)
	text := log.String()
	if !strings.Contains(text, "credentials refused") || !strings.Contains(text, "DEBUG") || !strings.Contains(text, `"pion":"ice"`) {
		t.Fatalf("the log lacks what is there:\n%.2000s", text)
	}
	forbidden := []string{"a-shared-token", string(signingSecret), "turn-user-one", "turn-credential-one", "pods share this.", "ice-pwd"}
	forbidden = append(forbidden, passwords...)
	for _, token := range tokens {
		for part := range strings.SplitSeq(token, ".") {
			if len(part) >= 12 {
				forbidden = append(forbidden, part[:12], part[len(part)-12:])
			}
		}
	}
	for _, f := range forbidden {
		if strings.Contains(text, f) {
			t.Errorf("the log tells %q", f)
		}
	}
}

// debuggedPool returns a pool of peer connections that tells all it can tell.
func debuggedPool(t *testing.T, log *slog.Logger) *rtcpool.Pool {
	t.Helper()
	decoders := media.NewDecodePool(manyWorkers)
	t.Cleanup(decoders.Close)
	pool, err := rtcpool.New(rtcpool.Config{Decoders: decoders, Logger: log, Tracer: noop.NewTracerProvider().Tracer(""), Loopback: true})
	must(t, err)
	t.Cleanup(func() { must(t, pool.Close(context.Background())) })
	return pool
}

// negotiated publishes into a session by way of a pod, streams it, restarts ICE, and returns the passwords of both sides.
func negotiated(t *testing.T, pods []*pod, token string) []string {
	t.Helper()
	said := &recorder{}
	p := &pod{gateway: said.as(pods[1].gateway, token), link: pods[1].link}
	k := p.talk("call")
	sfu := k.newSFU(sfutest.Config{MSID: sfutest.MSIDStream})
	must(t, sfu.Publish(p.ctx, newTrack(t, sfu, "alice", camera, clips.AliceCamera())))
	w := p.watch("call")
	must(t, sfu.Renegotiate(p.ctx, true))
	w.frame()
	w.cancel()
	passwords := said.passwords()
	different := slices.Compact(slices.Sorted(slices.Values(passwords)))
	if len(different) < 4 {
		t.Fatalf("only %d passwords are known, of two sides before and after a restart", len(different))
	}
	return different
}

// lockedBuffer is a log that many write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write implements io.Writer.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
