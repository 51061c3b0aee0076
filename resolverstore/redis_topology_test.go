package resolverstore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// tenants gives each store that shares servers with others a tenant of its own.
type tenants struct {
	Store
	prefix string
}

var tenantNumber atomic.Int64

func ownTenant(s Store) Store {
	return tenants{s, fmt.Sprintf("t%d:", tenantNumber.Add(1))}
}

func (t tenants) key(k SessionKey) SessionKey { return SessionKey{t.prefix + k.Tenant, k.ID} }

func (t tenants) out(s Session) Session {
	s.Key.Tenant = strings.TrimPrefix(s.Key.Tenant, t.prefix)
	return s
}

func (t tenants) CreateSession(ctx context.Context, s Session) (Session, bool, error) {
	if s.Key.ID != "" {
		s.Key = t.key(s.Key)
	}
	got, created, err := t.Store.CreateSession(ctx, s)
	return t.out(got), created, err
}

func (t tenants) GetSession(ctx context.Context, key SessionKey) (Session, error) {
	got, err := t.Store.GetSession(ctx, t.key(key))
	return t.out(got), err
}

func (t tenants) ListSessions(ctx context.Context, tenant, after string, labels map[string]string, limit int) ([]Session, error) {
	got, err := t.Store.ListSessions(ctx, t.prefix+tenant, after, labels, limit)
	for i := range got {
		got[i] = t.out(got[i])
	}
	return got, err
}

func (t tenants) UpdateSession(ctx context.Context, key SessionKey, f Fence, u SessionUpdate) (Session, error) {
	got, err := t.Store.UpdateSession(ctx, t.key(key), f, u)
	return t.out(got), err
}

func (t tenants) EndSession(ctx context.Context, key SessionKey, reason SessionEndReason) error {
	return t.Store.EndSession(ctx, t.key(key), reason)
}

func (t tenants) EndOwned(ctx context.Context, key SessionKey, f Fence, reason SessionEndReason) error {
	return t.Store.EndOwned(ctx, t.key(key), f, reason)
}

func (t tenants) ApplyEvents(ctx context.Context, key SessionKey, events []Event) (Applied, error) {
	return t.Store.ApplyEvents(ctx, t.key(key), events)
}

func (t tenants) ApplyMedia(ctx context.Context, key SessionKey, f Fence, d MediaDiff) error {
	return t.Store.ApplyMedia(ctx, t.key(key), f, d)
}

func (t tenants) Resolve(ctx context.Context, key SessionKey, sel Selector) (Track, error) {
	return t.Store.Resolve(ctx, t.key(key), sel)
}

func (t tenants) ListTracks(ctx context.Context, key SessionKey, after string, limit int) ([]Track, uint64, error) {
	return t.Store.ListTracks(ctx, t.key(key), after, limit)
}

func (t tenants) Watch(ctx context.Context, key SessionKey, after uint64) (Watcher, error) {
	return t.Store.Watch(ctx, t.key(key), after)
}

func (t tenants) Owner(ctx context.Context, key SessionKey, not Fence) (Owner, error) {
	o, err := t.Store.Owner(ctx, t.key(key), not)
	o.Session = t.out(o.Session)
	return o, err
}

func (t tenants) TakeOver(ctx context.Context, key SessionKey, from Fence, consent bool) (Session, error) {
	got, err := t.Store.TakeOver(ctx, t.key(key), from, consent)
	return t.out(got), err
}

// aclRules are those of README.md.
func aclRules(t testing.TB) []string {
	t.Helper()
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "ACL SETUSER penstock "); ok {
			return strings.Fields(rest)
		}
	}
	t.Fatal("README.md names no ACL")
	return nil
}

// newTestTLS makes a certificate authority, and certificates for a server on loopback and for a client.
func newTestTLS(t testing.TB, dir string) *testTLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &testTLS{client: func() *tls.Config {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	}}
}

// TestR20_TLSAndACL runs the suite over TLS, with client certificates, as a user who may do just what README.md says; with a wrong
// password, no certificate or no TLS nothing opens.
func TestR20_TLSAndACL(t *testing.T) {
	dir := t.TempDir()
	certs := newTestTLS(t, dir)
	server := &redisServer{t: t, bin: "redis-server", dir: dir, addr: fmt.Sprint("127.0.0.1:", freePort(t)), tls: certs}
	_, port, _ := net.SplitHostPort(server.addr)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	server.args = []string{
		"--bind", "127.0.0.1", "--port", "0", "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key,
		"--tls-ca-cert-file", cert, "--tls-auth-clients", "yes", "--save", "", "--appendonly", "no", "--dir", dir,
	}
	server.start()
	t.Cleanup(server.kill)
	args := []any{"ACL", "SETUSER", "penstock", "reset"}
	for _, rule := range aclRules(t) {
		args = append(args, strings.ReplaceAll(rule, "<password>", "s3cr:t@/"))
	}
	server.do(args...)
	good := RedisOptions{URL: "rediss://" + server.addr, Username: "penstock", Password: "s3cr:t@/", TLS: certs.client()}
	testStore(t, func(t *testing.T, cfg Config) Store { return ownTenant(openRedis(t, cfg, good)) })
	if t.Failed() {
		return
	}
	for name, change := range map[string]func(*RedisOptions){
		"wrong password":     func(o *RedisOptions) { o.Password = "wrong" },
		"no certificate":     func(o *RedisOptions) { o.TLS.Certificates = nil },
		"other authorities":  func(o *RedisOptions) { o.TLS.RootCAs = x509.NewCertPool() },
		"no TLS":             func(o *RedisOptions) { o.URL = "redis://" + server.addr },
		"password in vain":   func(o *RedisOptions) { o.URL = "rediss://penstock:wrong@" + server.addr },
		"server in no sense": func(o *RedisOptions) { o.URL = "rediss://127.0.0.1:1" },
	} {
		o := good
		o.TLS = certs.client()
		change(&o)
		s, err := NewRedis(t.Context(), Config{}, o)
		if err == nil {
			_ = s.Close()
		}
		if !errors.Is(err, ErrUnavailable) || strings.Contains(fmt.Sprint(err), "s3cr") {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := good
	o.URL = "rediss://penstock:s3cr%3At%40%2F@" + server.addr
	o.Username, o.Password = "", ""
	_ = openRedis(t, Config{}, o)
	if denied := server.do("ACL", "LOG").([]any); len(denied) != 0 {
		for _, d := range denied {
			if s := fmt.Sprint(d); !strings.Contains(s, "auth") {
				t.Errorf("denied: %v", s)
			}
		}
	}
}

// TestR20_EvictionPolicyIsReported: a server that may throw sessions away is reported at start, one that does not is not.
func TestR20_EvictionPolicyIsReported(t *testing.T) {
	for policy, want := range map[string]bool{"noeviction": false, "allkeys-lru": true, "volatile-ttl": true} {
		var log syncBuffer
		_ = startRedis(t, "--maxmemory-policy", policy).open(Config{Logger: log.logger()})
		if got := strings.Contains(log.String(), "maxmemory_policy="+policy); got != want {
			t.Errorf("%s: reported %v: %s", policy, got, log.String())
		}
	}
}

// startSentinel watches over a master.
func startSentinel(t testing.TB, master string) *redisServer {
	t.Helper()
	dir := t.TempDir()
	host, port, _ := net.SplitHostPort(master)
	own := freePort(t)
	conf := filepath.Join(dir, "sentinel.conf")
	text := fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %s\nsentinel monitor main %s %s 1\nsentinel down-after-milliseconds main 2000\nsentinel failover-timeout main 3000\n", own, dir, host, port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &redisServer{t: t, bin: "redis-server", dir: dir, addr: fmt.Sprint("127.0.0.1:", own), args: []string{conf, "--sentinel"}}
	s.start()
	t.Cleanup(s.kill)
	return s
}

// TestR20_SentinelFailover: the master dies, a replica that knows none of the scripts takes its place, and all goes on: who waited is
// released, what was resolved is, and no session changes its owner. NOSCRIPT is never seen.
func TestR20_SentinelFailover(t *testing.T) {
	t.Parallel()
	master := startRedisTCP(t)
	_, port, _ := net.SplitHostPort(master.addr)
	replica := startRedisTCP(t, "--replicaof", "127.0.0.1 "+port)
	sentinel := startSentinel(t, master.addr)
	eventually(t, "the replica follows", func() bool {
		return strings.Contains(replica.do("INFO", "replication").(string), "master_link_status:up")
	})
	eventually(t, "the sentinel knows the replica", func() bool {
		return strings.Contains(sentinel.do("INFO", "sentinel").(string), "slaves=1")
	})
	o := RedisOptions{URL: "redis-sentinel://" + sentinel.addr + "/main"}
	cfg := brisk(atOnce)
	a, b := openRedis(t, cfg, o), openRedis(t, cfg, o)
	ctx, cancel := context.WithTimeout(t.Context(), 4*hang)
	defer cancel()
	f := newFixtureIn(ctx, t, a)
	f.mustApply(published("ann1", Camera))
	f.put(of("m1", "ann1", Camera))
	before := f.on(b).resolve("ann1", Camera)
	wait := f.on(b).waitFor(Selector{ParticipantID: "bob1", Source: Camera})
	eventually(t, "b waits", func() bool { return waiting(b, f.key) == 1 })
	replica.do("SCRIPT", "FLUSH")
	master.kill()
	apply := func(pod *Redis, do func() error) {
		t.Helper()
		eventually(t, "the other server is the master", func() bool {
			err := do()
			if err != nil && !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
			return err == nil
		})
	}
	apply(b, func() error {
		_, err := b.ApplyEvents(ctx, f.key, []Event{published("bob1", Camera)})
		return err
	})
	apply(a, func() error {
		return a.ApplyMedia(ctx, f.key, f.fence, MediaDiff{Put: []Media{of("m2", "bob1", Camera)}})
	})
	if got, err := wait(); err != nil || got.Media.ID != "m2" {
		t.Errorf("who waited: %+v %v", got, err)
	}
	for _, pod := range []*Redis{a, b} {
		if got := f.on(pod).resolve("ann1", Camera); got.ID != before.ID {
			t.Errorf("%+v became %+v", before, got)
		}
		if got, err := pod.GetSession(ctx, f.key); err != nil || got.Fence != f.fence {
			t.Errorf("%+v %v", got, err)
		}
	}
}

// TestR20_ScriptsAreLost: a server that forgets the scripts is told them again, in the same call.
func TestR20_ScriptsAreLost(t *testing.T) {
	server := startRedis(t)
	f := newFixture(t, server.open(quiet(atOnce)))
	for i := range 5 {
		server.do("SCRIPT", "FLUSH")
		f.mustApply(published(fmt.Sprint("ann", i), Camera))
		before := server.commands()
		f.mustApply(joined(fmt.Sprint("bob", i)))
		if called := server.since(before); called["eval"] != 0 || called["evalsha"] != 1 {
			t.Errorf("once it knows them it is called by hash: %v", called)
		}
	}
}

// TestR20_WentBack: a server that is promoted may not have heard all. What it lacks the owner writes again; what others wrote
// there meanwhile is kept, and the media that were lost are told again.
func TestR20_WentBack(t *testing.T) {
	server := startRedis(t)
	a, b := server.pair(quiet(atOnce))
	f := newFixture(t, a)
	f.mustApply(published("ann1", Camera))
	name := sessionName(f.key)
	early := server.do("DUMP", name)
	f.put(of("m1", "ann1", Camera))
	f.mustApply(joined("cat1"))
	before := f.on(b).resolve("ann1", Camera)

	server.do("RESTORE", name, 0, early, "REPLACE")
	server.do("CLIENT", "KILL", "TYPE", "pubsub")
	for _, pod := range []*Redis{a, b} {
		eventually(t, "the owner wrote it again", func() bool {
			got, err := pod.Resolve(f.ctx, f.key, Selector{ParticipantID: "ann1", Source: Camera})
			return err == nil && got.ID == before.ID
		})
	}

	// Another pod writes before the owner notices.
	early = server.do("DUMP", name)
	f.put(of("m2", "bob1", Camera))
	server.do("RESTORE", name, 0, early, "REPLACE")
	c := server.open(quiet(atOnce))
	f.on(c).mustApply(published("bob1", Camera))
	f.on(c).mustApply(published("dan1", Camera))
	server.do("CLIENT", "KILL", "TYPE", "pubsub")
	for _, pod := range []*Redis{a, b, c} {
		eventually(t, "what was written there is kept, and the media are told again", func() bool {
			ctx, cancel := context.WithTimeout(f.ctx, 100*time.Millisecond)
			defer cancel()
			_, err := pod.Resolve(ctx, f.key, Selector{ParticipantID: "ann1", Source: Camera})
			return err == nil
		})
	}
	all := f.on(c).tracks()
	if len(all) != 3 {
		t.Errorf("known are %+v", all)
	}
}
