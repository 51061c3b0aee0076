package certs

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/penstock-media/penstock/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// hang bounds what is waited for.
const hang = time.Minute

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// authority signs certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var serial int64

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	})
	return a
}

// sign signs a certificate; the first one itself.
func (a *authority) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	serial++
	c.SerialNumber, c.NotBefore = big.NewInt(serial), time.Now().Add(-time.Hour)
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour).Truncate(time.Second)
	}
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	must(a.t, err)
	out, err := x509.ParseCertificate(der)
	must(a.t, err)
	return out, key
}

// pair returns a certificate of a name, in PEM, and its key.
func (a *authority) pair(name string, change ...func(*x509.Certificate)) (cert, key []byte) {
	a.t.Helper()
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	for _, f := range change {
		f(c)
	}
	signed, private := a.sign(c)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	must(a.t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// secretDir is a directory as Kubernetes mounts a Secret: each file is a link into ..data, which is a link to a directory of one version.
type secretDir struct {
	t    testing.TB
	path string
	n    int
}

func newSecretDir(t testing.TB, files map[string][]byte) *secretDir {
	t.Helper()
	d := &secretDir{t: t, path: t.TempDir()}
	d.set(files)
	for name := range files {
		must(t, os.Symlink(filepath.Join("..data", name), d.file(name)))
	}
	return d
}

func (d *secretDir) file(name string) string { return filepath.Join(d.path, name) }

// set swaps all files at once.
func (d *secretDir) set(files map[string][]byte) {
	d.t.Helper()
	d.n++
	version := "..v" + string(rune('0'+d.n))
	must(d.t, os.Mkdir(d.file(version), 0o700))
	for name, b := range files {
		must(d.t, os.WriteFile(filepath.Join(d.file(version), name), b, 0o600))
	}
	must(d.t, os.Symlink(version, d.file("..tmp")))
	must(d.t, os.Rename(d.file("..tmp"), d.file("..data")))
}

// syncBuffer is a log.
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

// listen serves TLS that echoes, and returns its address.
func listen(t testing.TB, c *Certs, cfg *tls.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	creds := c.Counted(credentials.NewTLS(cfg))
	var work sync.WaitGroup
	work.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer raw.Close()
				conn, _, err := creds.ServerHandshake(raw)
				if err != nil {
					return
				}
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		work.Wait()
	})
	return l.Addr().String()
}

// dial makes a connection that has been read from, so that the handshake is over at both ends.
func dial(t testing.TB, addr string, cfg *tls.Config) (*tls.Conn, error) {
	t.Helper()
	cfg.NextProtos, cfg.ServerName = []string{"h2"}, "127.0.0.1"
	raw, err := net.Dial("tcp", addr)
	must(t, err)
	conn := tls.Client(raw, cfg)
	t.Cleanup(func() { _ = conn.Close() })
	return conn, echo(conn)
}

func echo(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(hang))
	if _, err := conn.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

// shown returns the name in the certificate that a listener shows.
func shown(t testing.TB, addr string, roots *x509.CertPool) string {
	t.Helper()
	conn, err := dial(t, addr, &tls.Config{RootCAs: roots})
	must(t, err)
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// TestO3_CertificatesReload swaps the files as Kubernetes does: the next handshake shows the new certificate, connections that there are go on, and what cannot be used leaves
// what was before, told once and counted.
func TestO3_CertificatesReload(t *testing.T) {
	ca := newAuthority(t, "servers")
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	cert, key := ca.pair("one")
	dir := newSecretDir(t, map[string][]byte{"crt": cert, "key": key})
	var log syncBuffer
	c, err := New(Config{Cert: dir.file("crt"), Key: dir.file("key"), Every: 5 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	must(t, err)
	t.Cleanup(c.Close)
	addr := listen(t, c, c.Server(tls.VersionTLS13, false, "h2"))
	old, err := dial(t, addr, &tls.Config{RootCAs: roots})
	must(t, err)
	if v := old.ConnectionState().Version; v != tls.VersionTLS13 {
		t.Errorf("version %x", v)
	}

	until := time.Now().Add(7 * time.Hour).Truncate(time.Second)
	cert2, key2 := ca.pair("two", func(c *x509.Certificate) { c.NotAfter = until })
	dir.set(map[string][]byte{"crt": cert2, "key": key2})
	await(t, func() bool { return c.Stats().Reloads == 1 })
	if got := shown(t, addr, roots); got != "two" || !c.Stats().Expires.Equal(until) {
		t.Errorf("after the swap %q is shown, of until %v", got, c.Stats().Expires)
	}
	must(t, echo(old))

	for i, bad := range []map[string][]byte{
		{"crt": cert, "key": key2}, {"crt": []byte("hello"), "key": key2}, {"crt": nil, "key": nil}, {"crt": bytes.Repeat([]byte("x"), maxFile+1), "key": key2}, {},
	} {
		dir.set(bad)
		await(t, func() bool { return c.Stats().Failures == uint64(i+1) })
		if err := c.Reload(); err == nil { // again, of the same: told no more
			t.Errorf("%d: reloaded", i)
		}
		if got := shown(t, addr, roots); got != "two" {
			t.Errorf("%d: %q is shown", i, got)
		}
	}
	if n := strings.Count(log.String(), "cannot be used"); n != 5 || c.Stats().Failures != 5 {
		t.Errorf("told %d times, counted %d", n, c.Stats().Failures)
	}
	if strings.Contains(log.String(), "PRIVATE") {
		t.Error("the log tells a key")
	}
	cert3, key3 := ca.pair("three")
	dir.set(map[string][]byte{"crt": cert3, "key": key3})
	must(t, c.Reload()) // as SIGHUP does; or the look in time has been faster
	if got := shown(t, addr, roots); got != "three" {
		t.Errorf("after it was mended %q is shown", got)
	}
	must(t, echo(old))
}

// await waits for a condition.
func await(t testing.TB, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(hang); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("it never is so")
		}
	}
}

// stateOf is what a listener knows of a connection with verified chains.
func stateOf(chains [][]*x509.Certificate) *tls.ConnectionState {
	s := &tls.ConnectionState{VerifiedChains: chains}
	if len(chains) > 0 {
		s.PeerCertificates = chains[0][:1]
	}
	return s
}

// showTo makes a connection that shows a certificate of an authority, or none, and returns the chain that the listener should know.
func showTo(t testing.TB, addr string, roots *x509.CertPool, by *authority, change ...func(*x509.Certificate)) ([][]*x509.Certificate, error) {
	t.Helper()
	cfg := &tls.Config{RootCAs: roots}
	if by == nil {
		_, err := dial(t, addr, cfg)
		return nil, err
	}
	pair, err := tls.X509KeyPair(by.pair("anna", change...))
	must(t, err)
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	must(t, err)
	_, err = dial(t, addr, cfg)
	return [][]*x509.Certificate{{leaf, by.cert}}, err
}

// TestO3_ClientCertificates: one of an authority of callers is who it is, one of pods is a pod, one of a stranger, one that has expired, and one for servers only end the handshake; without
// any the connection is as good. Which authorities these are changes with the files. TLS 1.2 is refused unless it is asked for.
func TestO3_ClientCertificates(t *testing.T) {
	servers, callers, pods, strangers := newAuthority(t, "servers"), newAuthority(t, "callers"), newAuthority(t, "pods"), newAuthority(t, "strangers")
	cert, key := servers.pair("gateway")
	files := map[string][]byte{"crt": cert, "key": key, "callers": callers.pem(), "pods": pods.pem()}
	dir := newSecretDir(t, files)
	c, err := New(Config{Cert: dir.file("crt"), Key: dir.file("key"), ClientCA: dir.file("callers"), PodCA: dir.file("pods"), Every: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(c.Close)
	addr := listen(t, c, c.Server(tls.VersionTLS13, true, "h2"))
	roots := x509.NewCertPool()
	roots.AddCert(servers.cert)
	show := func(by *authority, change ...func(*x509.Certificate)) ([][]*x509.Certificate, error) {
		return showTo(t, addr, roots, by, change...)
	}
	for _, x := range []struct {
		name        string
		by          *authority
		caller, pod bool
	}{{"callers", callers, true, false}, {"pods", pods, false, true}, {"none", nil, false, false}} {
		chains, err := show(x.by)
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
		if s := stateOf(chains); (c.Client(s) != nil) != x.caller || c.Pod(s) != x.pod {
			t.Errorf("%s: a caller: %v, a pod: %v", x.name, c.Client(s), c.Pod(s))
		}
	}
	refused := c.Stats().Refused
	for name, f := range map[string]func() error{
		"stranger": func() error { _, err := show(strangers); return err },
		"expired": func() error {
			_, err := show(callers, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
			return err
		},
		"for servers": func() error {
			_, err := show(callers, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
			return err
		},
		"TLS 1.2": func() error {
			_, err := dial(t, addr, &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS12})
			return err
		},
	} {
		refused++
		if err := f(); err == nil {
			t.Errorf("%s: no error", name)
		}
		await(t, func() bool { return c.Stats().Refused == refused })
	}
	if _, err := dial(t, listen(t, c, c.Server(tls.VersionTLS12, true, "h2")), &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS12}); err != nil {
		t.Errorf("TLS 1.2 where it is asked for: %v", err)
	}
	if c.Client(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{callers.cert}}) != nil {
		t.Error("a certificate that was not verified is a caller's")
	}

	chains, err := show(callers)
	must(t, err)
	files["callers"] = strangers.pem()
	dir.set(files)
	must(t, c.Reload())
	if c.Client(stateOf(chains)) != nil {
		t.Error("a caller of an authority that is gone is still known")
	}
	if _, err := show(callers); err == nil {
		t.Error("an authority that is gone is still believed")
	}
	if _, err := show(strangers); err != nil {
		t.Errorf("the new authority: %v", err)
	}
}

// TestO3_CallsToPodsReload: a call to a pod believes the authorities, and shows the certificate, that are in use when it connects, and checks the name.
func TestO3_CallsToPodsReload(t *testing.T) {
	before, after := newAuthority(t, "before"), newAuthority(t, "after")
	files := func(a *authority) map[string][]byte {
		cert, key := a.pair("pod")
		return map[string][]byte{"crt": cert, "key": key, "pods": a.pem()}
	}
	dir := newSecretDir(t, files(before))
	open := func() *Certs {
		c, err := New(Config{Cert: dir.file("crt"), Key: dir.file("key"), PodCA: dir.file("pods"), Every: time.Hour, Logger: slog.New(slog.DiscardHandler)})
		must(t, err)
		t.Cleanup(c.Close)
		return c
	}
	here, there := open(), open()
	addr := listen(t, there, there.Server(tls.VersionTLS13, true, "h2"))
	call := func(name, authority string) error {
		creds := here.Pods(tls.VersionTLS13, name).Clone()
		if of := creds.Info().ServerName; of != "" { //nolint:staticcheck // as gRPC does
			authority = of
		}
		raw, err := net.Dial("tcp", addr)
		must(t, err)
		defer raw.Close()
		conn, _, err := creds.ClientHandshake(context.Background(), authority, raw)
		if err != nil {
			return err
		}
		return echo(conn)
	}
	must(t, call("", addr))
	must(t, call("pod", "10.0.0.1:1"))
	for _, wrong := range [][2]string{{"other", addr}, {"", "127.0.0.2:1"}, {"", "pod.example:1"}} {
		if err := call(wrong[0], wrong[1]); err == nil {
			t.Errorf("a pod of the name %q at %q is believed", wrong[0], wrong[1])
		}
	}
	dir.set(files(after))
	must(t, there.Reload())
	if err := call("", addr); err == nil {
		t.Error("an authority that is not known yet is believed")
	}
	must(t, here.Reload())
	must(t, call("", addr))
	if _, _, err := here.Pods(tls.VersionTLS13, "").ServerHandshake(nil); !errors.Is(err, errOnlyCalls) {
		t.Error(err)
	}
}

// TestBadCertificatesAreRefusedAtStart names what cannot be used.
func TestBadCertificatesAreRefusedAtStart(t *testing.T) {
	ca := newAuthority(t, "servers")
	cert, key := ca.pair("one")
	other, _ := ca.pair("two")
	two := append(ca.pem(), newAuthority(t, "others").pem()...)
	cfg := func(dir *secretDir) Config {
		return Config{Cert: dir.file("crt"), Key: dir.file("key"), ClientCA: dir.file("ca"), Every: time.Hour, Logger: slog.New(slog.DiscardHandler)}
	}
	whole, err := New(cfg(newSecretDir(t, map[string][]byte{"crt": cert, "key": key, "ca": append([]byte("# authorities\n"), two...)})))
	must(t, err)
	whole.Close()
	for name, ca := range map[string][]byte{
		"half an authority behind a whole one": two[:len(two)-60], "half an authority before a whole one": append(bytes.Clone(ca.pem()[:100]), ca.pem()...),
		"one that is no certificate": append(bytes.Clone(two), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})...),
	} {
		if _, err := New(cfg(newSecretDir(t, map[string][]byte{"crt": cert, "key": key, "ca": ca}))); !errors.Is(err, ErrAuthorities) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, files := range map[string]map[string][]byte{
		"another's key": {"crt": other, "key": key}, "no certificate": {"crt": key, "key": key}, "half a chain": {"crt": append(bytes.Clone(cert), ca.pem()[:200]...), "key": key}, "no authority": {"crt": cert, "key": key, "ca": []byte("hello")},
	} {
		dir := newSecretDir(t, files)
		cfg := Config{Cert: dir.file("crt"), Key: dir.file("key"), Logger: slog.New(slog.DiscardHandler)}
		if files["ca"] != nil {
			cfg.ClientCA = dir.file("ca")
		}
		if _, err := New(cfg); !errors.Is(err, ErrPair) && !errors.Is(err, ErrAuthorities) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
