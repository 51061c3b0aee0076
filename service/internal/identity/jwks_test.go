package identity

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// hang bounds what is waited for.
const hang = time.Minute

// keyServer serves a key set over HTTP.
type keyServer struct {
	url   string
	asked atomic.Int64

	mu     sync.Mutex
	answer http.HandlerFunc
}

func newKeyServer(t testing.TB, keys []byte) *keyServer {
	t.Helper()
	s := &keyServer{}
	s.set(keys)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		s.mu.Lock()
		answer := s.answer
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *keyServer) set(keys []byte) {
	s.serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(keys) })
}

func (s *keyServer) serve(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// kidToken returns a token by an RSA key of an id.
func (p pairs) kidToken(t testing.TB, kid string) string {
	t.Helper()
	return signed(t, jwt.SigningMethodRS256, p.rsa, map[string]any{"kid": kid}, good())
}

// TestO3_KeysAreRotated: a key that is new at the server is fetched when a token names it, at most once in a while however many ask, and one that is gone there is
// good no longer.
func TestO3_KeysAreRotated(t *testing.T) {
	before, after := newPairs(t), newPairs(t)
	server := newKeyServer(t, document(t, jwk(t, &before.rsa.PublicKey, "1", "")))
	a := start(t, Config{JWT: &JWTConfig{JWKS: server.url}})
	if _, err := show(t, a, before.kidToken(t, "1")); err != nil || server.asked.Load() != 1 {
		t.Fatalf("%v, asked %d times", err, server.asked.Load())
	}
	server.set(document(t, jwk(t, &after.rsa.PublicKey, "2", "")))
	token := after.kidToken(t, "2")
	var work sync.WaitGroup
	for range 20 {
		work.Go(func() {
			if _, err := show(t, a, token); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if n := server.asked.Load(); n != 2 {
		t.Errorf("asked %d times for one new key", n-1)
	}
	for range 100 { // somebody makes ids up
		if _, err := show(t, a, after.kidToken(t, "made up")); !errors.Is(err, ErrKey) {
			t.Fatal(err)
		}
	}
	if _, err := show(t, a, before.kidToken(t, "1")); !errors.Is(err, ErrKey) {
		t.Errorf("the key of before: %v", err)
	}
	if n := server.asked.Load(); n != 2 {
		t.Errorf("asked %d times more for keys that are made up", n-2)
	}
}

// TestO3_KeysStayWhileTheirServerIsAway: of a server that fails, stalls, or answers with too much or nonsense, the keys of before stay. Without any the caller is not to blame, and they
// are fetched as soon as that works.
func TestO3_KeysStayWhileTheirServerIsAway(t *testing.T) {
	p := newPairs(t)
	keys := document(t, jwk(t, &p.rsa.PublicKey, "1", ""))
	server := newKeyServer(t, keys)
	var log syncBuffer
	a := start(t, Config{JWT: &JWTConfig{JWKS: server.url + "/?secret=hidden"}, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	set := a.jwt.keys
	set.refetch = 0 // each token of an unknown key asks
	for name, answer := range map[string]http.HandlerFunc{
		"fails":    func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "hello", http.StatusInternalServerError) },
		"nonsense": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"no keys":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"many keys": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[` + strings.Repeat("{},", 256) + `{}]}`))
		},
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for block := bytes.Repeat([]byte(" "), 64<<10); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		},
		"elsewhere": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "ftp://example/", http.StatusFound) },
		"in the open": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound) // keys that could be anybody's
		},
		"huge keys": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[{"kty":"RSA","kid":"2","e":"AQAB","n":"` + strings.Repeat("_", 32<<10) + `"}]}`))
		},
		"hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		server.serve(answer)
		failed := set.failures.Load()
		set.mu.Lock()
		set.telling = telling{} // so that two that fail alike are told both
		set.mu.Unlock()
		if _, err := show(t, a, p.kidToken(t, "2")); !errors.Is(err, ErrKey) {
			t.Errorf("%s: another key: %v", name, err)
		}
		if _, err := show(t, a, p.kidToken(t, "1")); err != nil || a.KeyFailures() == failed {
			t.Errorf("%s: %v, %d failures", name, err, a.KeyFailures())
		}
	}
	if n := strings.Count(log.String(), "redirect that is not followed"); n != 2 {
		t.Errorf("%d redirects are refused", n)
	}
	if strings.Contains(log.String(), "hidden") {
		t.Errorf("the log tells the URL:\n%s", log.String())
	}

	server.serve(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusBadGateway) })
	late := start(t, Config{JWT: &JWTConfig{JWKS: server.url}})
	if _, err := show(t, late, p.kidToken(t, "1")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without any keys: %v", err)
	}
	server.set(keys)
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		if _, err := show(t, late, p.kidToken(t, "1")); err == nil {
			tick.Stop()
			break
		}
		if ctx.Err() != nil {
			t.Fatal("the keys are never fetched")
		}
	}
}

// TestO3_ACallerDoesNotWaitForAServerThatStalls longer than the bound: the wait of one ends with its own context too.
func TestO3_ACallerDoesNotWaitForAServerThatStalls(t *testing.T) {
	p := newPairs(t)
	server := newKeyServer(t, document(t, jwk(t, &p.rsa.PublicKey, "1", "")))
	a := start(t, Config{JWT: &JWTConfig{JWKS: server.url}})
	stalled, release := make(chan struct{}), make(chan struct{})
	server.serve(func(w http.ResponseWriter, r *http.Request) {
		close(stalled)
		<-release
		http.Error(w, "", http.StatusGone)
	})
	first := make(chan error, 1)
	go func() {
		_, err := show(t, a, p.kidToken(t, "2"))
		first <- err
	}()
	<-stalled
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Authenticate(ctx, Credentials{Authorization: []string{"Bearer " + p.kidToken(t, "2")}}); !errors.Is(err, ErrKey) {
		t.Errorf("a caller that is gone: %v", err)
	}
	if _, err := show(t, a, p.kidToken(t, "1")); err != nil {
		t.Errorf("a key that is known: %v", err)
	}
	close(release)
	if err := <-first; !errors.Is(err, ErrKey) {
		t.Error(err)
	}
}

// TestO3_KeysAreFetchedBesideCalls: who shows a token of an unknown key waits for the server no longer than a caller is made to, though its own deadline is far; the fetch goes on, and the next one has
// the key. Many that come meanwhile begin no other fetch.
func TestO3_KeysAreFetchedBesideCalls(t *testing.T) {
	before, after := newPairs(t), newPairs(t)
	server := newKeyServer(t, document(t, jwk(t, &before.rsa.PublicKey, "1", "")))
	a := start(t, Config{JWT: &JWTConfig{JWKS: server.url}})
	a.jwt.keys.patience = time.Millisecond
	release := make(chan struct{})
	server.serve(func(w http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = w.Write(document(t, jwk(t, &after.rsa.PublicKey, "2", "")))
	})
	token := after.kidToken(t, "2")
	for range 10 {
		if _, err := show(t, a, token); !errors.Is(err, ErrKey) {
			t.Errorf("while the server stalls: %v", err)
		}
	}
	done := a.jwt.keys.load() // the one that is under way
	close(release)
	<-done
	if _, err := show(t, a, token); err != nil {
		t.Errorf("after the fetch: %v", err)
	}
	if n := server.asked.Load(); n != 2 {
		t.Errorf("the server was asked %d times", n)
	}
	if n, ok := a.Keys(); n != 1 || !ok {
		t.Errorf("%d keys are told of", n)
	}
}

// TestO3_LooksForUnknownKeysAreNoChain: who sees a look that is just ending begins no other one, so that tokens of made-up keys in numbers do not have the server asked without a rest.
func TestO3_LooksForUnknownKeysAreNoChain(t *testing.T) {
	p := newPairs(t)
	server := newKeyServer(t, document(t, jwk(t, &p.rsa.PublicKey, "1", "")))
	a := start(t, Config{JWT: &JWTConfig{JWKS: server.url}})
	set := a.jwt.keys
	set.refetch = time.Hour
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for ctx.Err() == nil {
				set.lookAgain()
			}
		})
	}
	const looks = 300
	for range looks {
		<-set.load()
	}
	stop()
	work.Wait()
	<-set.load() // what may be under way
	// At first, for an unknown key, and those that the test has made.
	if n := server.asked.Load(); n > 1+1+looks+1 {
		t.Errorf("the server was asked %d times, of which the test made %d", n, looks+1)
	}
}

// TestO3_MissingKeysAreToldOnceInAWhile: the same failure is logged once a minute, another one at once, and that it is over too.
func TestO3_MissingKeysAreToldOnceInAWhile(t *testing.T) {
	p := newPairs(t)
	keys := document(t, jwk(t, &p.rsa.PublicKey, "1", ""))
	var log syncBuffer
	name := filepath.Join(t.TempDir(), "keys.json")
	a := start(t, Config{JWT: &JWTConfig{JWKS: name}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	set := a.jwt.keys
	for range 20 {
		<-set.load()
	}
	if n := strings.Count(log.String(), "there are none"); n != 1 || a.KeyFailures() < 20 {
		t.Errorf("told %d times of %d failures", n, a.KeyFailures())
	}
	must(t, os.WriteFile(name+".new", []byte("{}"), 0o600))
	must(t, os.Rename(name+".new", name))
	<-set.load()
	<-set.load() // the first one may have begun before
	if n := strings.Count(log.String(), "there are none"); n != 2 {
		t.Errorf("another failure is told %d times", n-1)
	}
	must(t, os.WriteFile(name+".new", keys, 0o600))
	must(t, os.Rename(name+".new", name))
	<-set.load()
	<-set.load()
	if !strings.Contains(log.String(), "are fetched again") {
		t.Errorf("that it is over is not told:\n%s", log.String())
	}
	var told telling
	at := time.Unix(1000, 0)
	_, first := told.news("x", at)
	_, again := told.news("x", at.Add(tellAgain-1))
	left, later := told.news("x", at.Add(tellAgain))
	if !first || again || !later || left != 1 {
		t.Errorf("told %t %t %t, %d left out", first, again, later, left)
	}
}

// TestO3_KeysOfAFile are read again when a token names one that is not known, and in the background.
func TestO3_KeysOfAFile(t *testing.T) {
	before, after := newPairs(t), newPairs(t)
	name := filepath.Join(t.TempDir(), "keys.json")
	must(t, os.WriteFile(name, document(t, jwk(t, &before.rsa.PublicKey, "1", "")), 0o600))
	a := start(t, Config{JWT: &JWTConfig{JWKS: name}})
	if _, err := show(t, a, before.kidToken(t, "1")); err != nil {
		t.Fatal(err)
	}
	must(t, os.WriteFile(name+".new", document(t, jwk(t, &after.rsa.PublicKey, "2", "")), 0o600))
	must(t, os.Rename(name+".new", name))
	if _, err := show(t, a, after.kidToken(t, "2")); err != nil {
		t.Errorf("the new key: %v", err)
	}
}

// syncBuffer is a buffer that many write to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// FuzzJWKS: whatever a key set is, reading it ends, and gives keys that are for some algorithm, or an error.
func FuzzJWKS(f *testing.F) {
	p := newPairs(f)
	f.Add(document(f, jwk(f, &p.rsa.PublicKey, "1", ""), jwk(f, &p.ec.PublicKey, "2", "ES256"), jwk(f, p.ed.Public(), "3", "")))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"","y":""},{"kty":"RSA","n":"AQ","e":"AQAB"},{"kty":"oct","k":"AA"}]}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := parseJWKS(b, slog.New(slog.DiscardHandler))
		if (err == nil) != (len(keys) > 0) {
			t.Errorf("%d keys, %v", len(keys), err)
		}
	})
}
