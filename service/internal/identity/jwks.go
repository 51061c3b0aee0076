package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
)

// Bounds of a key set and of fetching it.
const (
	maxJWKS     = 1 << 20 // bytes
	maxKeys     = 256
	minRSABits  = 2048
	maxRSABits  = 8192 // more takes long to check by, for whoever shows a token
	fetchBound  = 5 * time.Second
	refreshURL  = 5 * time.Minute // how often keys are fetched without a reason
	refreshFile = 5 * time.Second // the same of a file, which costs nothing
	refetchWait = 10 * time.Second
	maxRedirect = 3
	keyPatience = time.Second // how long a caller waits for keys that are being fetched
	tellAgain   = time.Minute // how often the log tells that they still cannot be
)

// keySet holds the public keys of a JWKS (RFC 7517), and keeps them up to date. It is safe for concurrent use.
type keySet struct {
	source  string // URL or path
	client  *http.Client
	log     *slog.Logger
	every   time.Duration // between two looks without a reason
	refetch time.Duration // between two looks because of a key that is not known

	patience time.Duration // of a caller

	stop    context.CancelFunc
	working sync.WaitGroup

	mu       sync.Mutex
	keys     []publicKey // nil until they were fetched
	asked    time.Time   // when it was last looked for a key that is not known
	fetching chan struct{}
	running  context.Context // ends with close
	closed   bool
	telling  telling

	failures atomic.Uint64
}

// telling is what the log was told of failures: each that is another than the one before, and the same one once in a while.
type telling struct {
	last   string
	at     time.Time
	untold uint64
}

// news tells whether a failure is to be logged, and how many were not since the last one that was.
func (t *telling) news(text string, now time.Time) (untold uint64, tell bool) {
	if text == t.last && now.Sub(t.at) < tellAgain {
		t.untold++
		return 0, false
	}
	untold, t.last, t.at, t.untold = t.untold, text, now, 0
	return untold, true
}

// publicKey is a key and what it is for.
type publicKey struct {
	id, algorithm string // empty is any that fits
	key           any    // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// newKeySet returns the keys of a source. They are fetched at once, and again in the background until close. Keys that cannot be fetched are no
// error: they may be soon. Errors: ErrConfig.
func newKeySet(ctx context.Context, source string, log *slog.Logger) (*keySet, error) {
	s := &keySet{source: source, log: log, every: refreshFile, refetch: refetchWait, patience: keyPatience}
	if u, ok := isURL(source); ok {
		if err := checkURL(u); err != nil {
			return nil, err
		}
		s.every = refreshURL
		s.client = &http.Client{Timeout: fetchBound, CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirect || r.URL.Scheme != u.Scheme || checkURL(r.URL) != nil {
				return fmt.Errorf("%w: a redirect that is not followed", ErrConfig)
			}
			return nil
		}, Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxResponseHeaderBytes: 64 << 10, MaxIdleConns: 1, IdleConnTimeout: 30 * time.Second, ForceAttemptHTTP2: true,
		}}
	}
	s.running, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.await(ctx, s.load(), fetchBound)
	s.working.Go(s.run)
	return s, nil
}

// isURL tells a URL from a path.
func isURL(source string) (*url.URL, bool) {
	u, err := url.Parse(source)
	return u, err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// CheckJWKS tells whether keys may be taken from a source: a path, an https URL, or an http URL of this machine. Errors: ErrConfig.
func CheckJWKS(source string) error {
	if u, ok := isURL(source); ok {
		return checkURL(u)
	}
	if strings.Contains(source, "://") {
		return fmt.Errorf("%w: %q is neither a file nor an https URL", ErrConfig, source)
	}
	return nil
}

func checkURL(u *url.URL) error {
	if u.Scheme == "https" {
		return nil
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.IsLoopback() || u.Hostname() == "localhost" {
		return nil
	}
	return fmt.Errorf("%w: keys that come over http can be anybody's; use https", ErrConfig)
}

// close ends the fetching, and waits for it.
func (s *keySet) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.working.Wait()
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
}

// run looks again and again.
func (s *keySet) run() {
	for {
		wait := s.every - s.every/10 + rand.N(s.every/5) //nolint:gosec // that pods do not all ask at once
		if s.none() {
			wait = min(wait, time.Second)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			s.await(s.running, s.load(), 2*fetchBound)
		case <-s.running.Done():
			timer.Stop()
			return
		}
	}
}

func (s *keySet) none() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys == nil
}

// load has the keys fetched in the background, once at a time, and returns a channel that is closed when that is over. The keys of before stay where it fails.
func (s *keySet) load() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loadLocked()
}

// loadLocked is load under mu.
func (s *keySet) loadLocked() <-chan struct{} {
	if s.fetching != nil {
		return s.fetching
	}
	done := make(chan struct{})
	if s.closed {
		close(done)
		return done
	}
	s.fetching = done
	s.working.Go(func() {
		bound, cancel := context.WithTimeout(s.running, fetchBound)
		defer cancel()
		keys, err := s.fetch(bound)
		s.fetched(keys, err)
		close(done)
	})
	return done
}

// fetched takes what a fetch has brought.
func (s *keySet) fetched(keys []publicKey, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetching = nil
	if err == nil {
		if s.telling.last != "" {
			s.log.Info("keys of tokens are fetched again", "keys", len(keys))
		}
		s.keys, s.telling = keys, telling{}
		return
	}
	if s.running.Err() != nil { // who closes it ends the fetch
		return
	}
	s.failures.Add(1)
	untold, tell := s.telling.news(err.Error(), time.Now())
	switch {
	case !tell:
	case s.keys == nil:
		s.log.Warn("keys of tokens cannot be fetched, and there are none: callers with such tokens are refused", "error", err, "left_out", untold)
	default:
		s.log.Warn("keys of tokens cannot be fetched; those of before stay", "error", err, "left_out", untold)
	}
}

// await waits for a fetch, no longer than ctx and patience allow.
func (s *keySet) await(ctx context.Context, done <-chan struct{}, patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// fetch reads the source.
func (s *keySet) fetch(ctx context.Context) ([]publicKey, error) {
	var b []byte
	var err error
	if s.client == nil {
		b, err = readBounded(s.source)
	} else {
		b, err = s.get(ctx)
	}
	if err != nil {
		return nil, err
	}
	return parseJWKS(b, s.log)
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("identity: JWKS: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	return bounded(f)
}

func (s *keySet) get(ctx context.Context) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.source, nil)
	if err != nil {
		return nil, fmt.Errorf("identity: JWKS: %w", err)
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	a, err := s.client.Do(r)
	if err != nil {
		var with *url.Error
		if errors.As(err, &with) { // the URL may hold a secret
			err = with.Err
		}
		var lost *net.OpError
		if errors.As(err, &lost) { // the same failure reads the same, whatever port this end had
			lost.Source = nil
		}
		return nil, fmt.Errorf("identity: JWKS: %w", err)
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: the JWKS is answered with %s", ErrUnavailable, a.Status)
	}
	return bounded(a.Body)
}

// bounded reads what is not too much.
func bounded(from io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(from, maxJWKS+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("identity: JWKS: %w", err)
	case len(b) > maxJWKS:
		return nil, fmt.Errorf("%w: a JWKS of more than %d bytes", ErrTooLarge, maxJWKS)
	}
	return b, nil
}

// parseJWKS returns the public keys of a set that signatures can be checked by. Others are left out: a set is used by many. A set without any is an error.
func parseJWKS(b []byte, log *slog.Logger) ([]publicKey, error) {
	var set struct {
		Keys []jwkset.JWKMarshal `json:"keys"`
	}
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, fmt.Errorf("%w: not a JWKS", ErrMalformed) // without its text, which may be anything
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%w: a JWKS of more than %d keys", ErrTooLarge, maxKeys)
	}
	keys := []publicKey{}
	for i, m := range set.Keys {
		k, err := publicKeyOf(m)
		if err != nil {
			log.Debug("key left out", "index", i, "error", err)
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: a JWKS without a public key for signatures", ErrMalformed)
	}
	return keys, nil
}

// publicKeyOf returns a key that is for signatures, public, and strong enough.
func publicKeyOf(m jwkset.JWKMarshal) (publicKey, error) {
	if m.USE != "" && m.USE != jwkset.UseSig {
		return publicKey{}, fmt.Errorf("%w: it is not for signatures", ErrKey)
	}
	m.X5U, m.X5C, m.X5T, m.X5TS256, m.KEYOPS = "", nil, "", "", nil // Nothing is fetched for a key, and a certificate says nothing here.
	j, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return publicKey{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	k := publicKey{id: m.KID, algorithm: string(m.ALG), key: j.Key()}
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSABits || n > maxRSABits {
			return publicKey{}, fmt.Errorf("%w: RSA of %d bits; it needs %d to %d", ErrKey, n, minRSABits, maxRSABits)
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return publicKey{}, fmt.Errorf("%w: not a public key", ErrKey)
	}
	return k, nil
}

// fits tells whether a key is for an algorithm.
func (k publicKey) fits(algorithm string) bool {
	if k.algorithm != "" && k.algorithm != algorithm {
		return false
	}
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		return algorithm == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[key.Curve.Params().BitSize]
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}

// key returns the key of an id, for an algorithm. An id that is not known has the keys fetched again, though not often: they may have been changed. That is waited for shortly, and not longer than
// ctx lasts; who is refused meanwhile may come again.
// Without an id the only key that fits is meant. Errors: ErrKey, ErrUnavailable.
func (s *keySet) key(ctx context.Context, id, algorithm string) (any, error) {
	k, err := s.find(id, algorithm)
	if err == nil {
		return k, nil
	}
	if looked := s.lookAgain(); looked != nil {
		s.await(ctx, looked, s.patience)
	}
	return s.find(id, algorithm) // Without a look too: one may have ended since.
}

// lookAgain looks for a key that is not known, and returns what load does: the look that is under way, or a new one if it is time for that; else nil. To tell and to look are one step, or who has seen a look
// that ends meanwhile would begin another one, and many such would never let the server rest.
func (s *keySet) lookAgain() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fetching == nil {
		if !s.asked.IsZero() && time.Since(s.asked) < s.refetch {
			return nil
		}
		s.asked = time.Now()
	}
	return s.loadLocked()
}

func (s *keySet) find(id, algorithm string) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		return nil, ErrUnavailable
	}
	var found any
	for _, k := range s.keys {
		if !k.fits(algorithm) || id != "" && k.id != id {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%w: more than one fits", ErrKey)
		}
		found = k.key
	}
	if found == nil {
		return nil, ErrKey
	}
	return found, nil
}
