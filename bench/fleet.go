package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// fleet is pods that share a Redis, each a process of its own.
type fleet struct {
	dir   string
	redis *child
	store *redis.Client
	pods  []*child
	addrs []string // of the pods' gRPC APIs
	ca    string   // PEM file of their certificate; empty is plaintext
	more  []string // further arguments of every pod
	b     *bench
}

// fleet starts a Redis. The caller must stop it, also after an error.
func (b *bench) fleet(ctx context.Context, secure bool, more ...string) (*fleet, error) {
	dir, err := os.MkdirTemp("", "penstock-fleet-")
	if err != nil {
		return nil, fmt.Errorf("make a working directory: %w", err)
	}
	f := &fleet{dir: dir, more: more, b: b}
	if secure {
		if err := f.certify(); err != nil {
			return f, err
		}
	}
	socket := filepath.Join(dir, "s")
	if f.redis, err = start("redis", "redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir, "--loglevel", "warning"); err != nil {
		return f, err
	}
	f.store = redis.NewClient(&redis.Options{Network: "unix", Addr: socket, Protocol: 2, DisableIdentity: true, MaxRetries: -1})
	for f.store.Ping(ctx).Err() != nil {
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return f, err
		}
	}
	return f, nil
}

// add starts a further pod and returns its number.
func (f *fleet) add(ctx context.Context) (int, error) {
	addr, err := freeAddr()
	if err != nil {
		return 0, err
	}
	args := append([]string{
		"serve", "--caller-rate", "0", "--grpc-addr", addr, "--http-addr", "127.0.0.1:0", "--log-level", "warn",
		"--redis-url", "unix://" + filepath.Join(f.dir, "s"), "--pod-secret", "bench-bench-bench-bench-bench-bench",
	}, f.more...)
	if f.ca != "" {
		args = append(args, "--tls-cert", f.ca, "--tls-key", filepath.Join(f.dir, "key.pem"), "--pod-ca", f.ca)
	}
	pod, err := start(fmt.Sprint("pod ", len(f.pods)), f.b.gateway, args...)
	if err != nil {
		return 0, err
	}
	f.pods, f.addrs = append(f.pods, pod), append(f.addrs, addr)
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	_, err = pod.await(starting, "gateway serves gRPC on ")
	return len(f.pods) - 1, err
}

// stop ends all processes and removes what they left.
func (f *fleet) stop() {
	if f == nil {
		return
	}
	for _, p := range f.pods {
		_ = p.cmd.Process.Kill() // a drain would take its time
		p.stop()
	}
	if f.redis != nil {
		f.redis.stop()
	}
	if f.store != nil {
		_ = f.store.Close()
	}
	_ = os.RemoveAll(f.dir)
}

// dial dials a pod. The caller closes the connection.
func (f *fleet) dial(pod int) (*grpc.ClientConn, error) {
	creds, err := credentialsOf(f.ca)
	if err != nil {
		return nil, err
	}
	return grpc.NewClient(f.addrs[pod], grpc.WithTransportCredentials(creds))
}

// credentialsOf are those of a connection to a gateway with a certificate; plaintext without.
func credentialsOf(ca string) (credentials.TransportCredentials, error) {
	if ca == "" {
		return insecure.NewCredentials(), nil
	}
	b, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%w: %s holds no certificate", errUsage, ca)
	}
	return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}), nil
}

// certify makes a certificate for 127.0.0.1 that signs itself.
func (f *fleet) certify() error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "penstock bench"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	f.ca = filepath.Join(f.dir, "cert.pem")
	for name, block := range map[string]*pem.Block{f.ca: {Type: "CERTIFICATE", Bytes: der}, filepath.Join(f.dir, "key.pem"): {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			return fmt.Errorf("write a certificate: %w", err)
		}
	}
	return nil
}

// freeAddr returns an address of loopback that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// commands is how many commands Redis has carried out so far.
func (f *fleet) commands(ctx context.Context) (n int64, err error) {
	info, err := f.store.Info(ctx, "stats").Result()
	if err != nil {
		return 0, fmt.Errorf("ask redis: %w", err)
	}
	for line := range strings.Lines(info) {
		if _, err := fmt.Sscanf(line, "total_commands_processed:%d", &n); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: redis counts no commands", errChild)
}
