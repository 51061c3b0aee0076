// Package certs keeps the certificates of a gateway up to date: the pair that its listeners show, and the authorities of those that are shown to it. Files that change are
// read again, without a restart and without a word to the connections that there are; what cannot be used leaves what was before.
package certs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultEvery is how often files are looked at. Kubernetes changes a Secret's by another symbolic link, of which no event can be relied on.
const DefaultEvery = 5 * time.Second

// maxFile bounds a file, in bytes.
const maxFile = 1 << 20

var (
	// ErrPair means that certificate and key are not a pair that can be shown.
	ErrPair = errors.New("certs: not a certificate chain and the unencrypted key that belongs to it")
	// ErrAuthorities means that a file holds no certificates, or some that cannot be read.
	ErrAuthorities = errors.New("certs: not a file of certificates")
)

// Config names the files. Cert and Key are required; the others may be empty.
type Config struct {
	Cert, Key string // what listeners and calls to pods show
	ClientCA  string // authorities of callers' certificates
	PodCA     string // authorities of other pods' certificates; empty is the machine's own
	// Every is how often the files are looked at. Default DefaultEvery.
	Every time.Duration
	// Logger is told of changes. Required.
	Logger *slog.Logger
}

// Stats tells of certificates since the process began.
type Stats struct {
	Reloads  uint64    // changes that are in use
	Failures uint64    // changes that could not be used; what was before is
	Refused  uint64    // handshakes that failed
	Expires  time.Time // of the certificate that is shown
}

// material is what was read at one time.
type material struct {
	sum     [sha256.Size]byte
	pair    tls.Certificate
	expires time.Time
	client  *authorities // nil without ClientCA
	pods    *authorities // nil without PodCA
}

// Certs is what a gateway shows, and whom it believes. Its methods are safe for concurrent use.
type Certs struct {
	cfg                        Config
	now                        atomic.Pointer[material]
	bad                        [sha256.Size]byte // of what could not be used, so that it is told once; of Reload's
	reading                    sync.Mutex        // held by Reload
	reloads, failures, refused atomic.Uint64

	stop    context.CancelFunc
	working sync.WaitGroup
}

// New reads the files, and looks at them again until Close. Errors: ErrPair, ErrAuthorities, and those of reading.
func New(cfg Config) (*Certs, error) {
	if cfg.Every == 0 {
		cfg.Every = DefaultEvery
	}
	c := &Certs{cfg: cfg}
	m, _, err := c.read(nil)
	if err != nil {
		return nil, err
	}
	c.now.Store(m)
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.working.Go(func() { c.watch(ctx) })
	return c, nil
}

// Close ends the looking. What was read stays in use.
func (c *Certs) Close() {
	c.stop()
	c.working.Wait()
}

// Stats returns what happened so far.
func (c *Certs) Stats() Stats {
	return Stats{Reloads: c.reloads.Load(), Failures: c.failures.Load(), Refused: c.refused.Load(), Expires: c.now.Load().expires}
}

func (c *Certs) watch(ctx context.Context) {
	ticker := time.NewTicker(c.cfg.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = c.Reload() // it has been told
		case <-ctx.Done():
			return
		}
	}
}

// mostChanges bounds how often files are read again that change while they are read.
const mostChanges = 10

// Reload looks at the files at once. What cannot be used is counted, and logged once; what was before stays.
func (c *Certs) Reload() error {
	c.reading.Lock()
	defer c.reading.Unlock()
	m, sum, err := c.read(c.now.Load())
	for n, settled := 0, false; err != nil && !settled && n < mostChanges; n++ {
		before := sum // perhaps of one file as it was and of another as it is: then they are no pair, and soon are
		m, sum, err = c.read(c.now.Load())
		settled = sum == before
	}
	switch {
	case err != nil && sum == c.bad:
		return err
	case err != nil:
		c.bad = sum
		c.failures.Add(1)
		c.cfg.Logger.Error("changed certificates cannot be used; those of before stay", "error", err)
		return err
	}
	c.bad = [sha256.Size]byte{}
	if m != c.now.Load() {
		c.now.Store(m)
		c.reloads.Add(1)
		c.cfg.Logger.Info("certificates have changed", "expires", m.expires)
	}
	return nil
}

// files returns those that are named.
func (c *Certs) files() []string { return []string{c.cfg.Cert, c.cfg.Key, c.cfg.ClientCA, c.cfg.PodCA} }

// read reads all files, and returns a hash of what they hold, of those that can be read. It returns what was before where that is the same.
func (c *Certs) read(before *material) (m *material, sum [sha256.Size]byte, err error) {
	h := sha256.New()
	var all [4][]byte
	for i, name := range c.files() {
		var one error
		if all[i], one = readFile(name); one != nil {
			err = one
		}
		part := sha256.Sum256(all[i])
		h.Write(part[:])
	}
	h.Sum(sum[:0])
	switch {
	case err != nil:
		return nil, sum, err
	case before != nil && sum == before.sum:
		return before, sum, nil
	}
	m, err = c.parse(all)
	if err != nil {
		return nil, sum, err
	}
	m.sum = sum
	return m, sum, nil
}

// parse makes of the files' bytes what can be shown and believed.
func (c *Certs) parse(all [4][]byte) (*material, error) {
	m := &material{}
	_, err := certificatesOf(all[0]) // the whole chain: X509KeyPair leaves out what it cannot read
	if err == nil {
		m.pair, err = tls.X509KeyPair(all[0], all[1])
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrPair, c.cfg.Cert, err)
	}
	m.expires = m.pair.Leaf.NotAfter
	if m.client, err = authoritiesOf(c.cfg.ClientCA, all[2]); err != nil {
		return nil, err
	}
	m.pods, err = authoritiesOf(c.cfg.PodCA, all[3])
	return m, err
}

// readFile reads a file that is not too large; "" is empty.
func readFile(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("certs: %w", err)
	case len(b) > maxFile:
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrAuthorities, name, maxFile)
	}
	return bytes.TrimSpace(b), nil
}

// authorities are those of one purpose.
type authorities struct {
	pool  *x509.CertPool
	roots map[[sha256.Size]byte]bool
	all   []*x509.Certificate
}

// authoritiesOf reads authorities in PEM; nil where no file is named.
func authoritiesOf(name string, b []byte) (*authorities, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // documented
	}
	a := &authorities{pool: x509.NewCertPool(), roots: map[[sha256.Size]byte]bool{}}
	all, err := certificatesOf(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrAuthorities, name, err)
	}
	for _, c := range all {
		a.pool.AddCert(c)
		a.roots[sha256.Sum256(c.Raw)] = true
		a.all = append(a.all, c)
	}
	if len(a.all) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrAuthorities, name)
	}
	return a, nil
}

// signed tells whether one of the chains that were verified ends at one of the authorities.
func (a *authorities) signed(chains [][]*x509.Certificate) bool {
	if a == nil {
		return false
	}
	for _, chain := range chains {
		if n := len(chain); n > 0 && a.roots[sha256.Sum256(chain[n-1].Raw)] {
			return true
		}
	}
	return false
}
