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
	"math/big"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// callersAuthority signs certificates of callers.
type callersAuthority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newCallersAuthority(t *testing.T) *callersAuthority {
	t.Helper()
	a := &callersAuthority{}
	der := a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "callers"}, IsCA: true, BasicConstraintsValid: true})
	a.file = file(t, "callers.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der.Certificate[0]})))
	return a
}

// sign signs a certificate; the first one itself.
func (a *callersAuthority) sign(t *testing.T, c *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour)
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert == nil {
		a.key = key
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// caller returns how somebody of a tenant speaks TLS, who may take some actions; without a tenant it has no certificate.
func (a *callersAuthority) caller(t *testing.T, roots *x509.CertPool, tenant string, actions ...string) *tls.Config {
	t.Helper()
	c := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}
	if tenant != "" {
		c.Certificates = []tls.Certificate{a.sign(t, &x509.Certificate{
			Subject:     pkix.Name{CommonName: "anna", Organization: []string{tenant}, OrganizationalUnit: actions},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})}
	}
	return c
}

// TestO3_CallersAreKnownByTheirCertificates: over gRPC and WHIP of a real gateway a certificate says whose sessions its holder sees, and what it may do; who shows none is nobody, but for probes. Where a
// certificate is required a token alone is not enough, and beside one it says who it is.
func TestO3_CallersAreKnownByTheirCertificates(t *testing.T) {
	cert, key := certificate(t)
	pemBytes, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pemBytes)
	a := newCallersAuthority(t)
	acme, zeta, reader, nobody := a.caller(t, roots, "acme", "signal"), a.caller(t, roots, "zeta", "signal"), a.caller(t, roots, "acme", "stream"), a.caller(t, roots, "")
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	dial := func(s *served, c *tls.Config) penstockv1.SessionServiceClient {
		conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(credentials.NewTLS(c.Clone())))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return penstockv1.NewSessionServiceClient(conn)
	}
	want := func(what string, err error, code codes.Code) {
		t.Helper()
		if status.Code(err) != code {
			t.Errorf("%s: %v, want %v", what, err, code)
		}
	}
	get := &penstockv1.GetSessionRequest{SessionId: "call"}

	s := startServe(t, nil, "--tls-cert="+cert, "--tls-key="+key, "--tls-client-ca="+a.file)
	_, err = dial(s, acme).CreateSession(ctx, &penstockv1.CreateSessionRequest{SessionId: "call"})
	want("create", err, codes.OK)
	_, err = dial(s, acme).ListSessions(ctx, &penstockv1.ListSessionsRequest{})
	want("list, which is not its action", err, codes.PermissionDenied)
	_, err = dial(s, zeta).GetSession(ctx, get)
	want("another tenant's", err, codes.NotFound)
	_, err = dial(s, nobody).GetSession(ctx, get)
	want("without a certificate", err, codes.Unauthenticated)
	for name, c := range map[string]struct {
		by           *tls.Config
		method, path string
		want         int
	}{
		"publish without one": {nobody, http.MethodPost, "/whip/call", 401}, "publish as a reader": {reader, http.MethodPost, "/whip/call", 403}, "publish nothing": {acme, http.MethodPost, "/whip/call", 422},
		"end of what is not there": {zeta, http.MethodDelete, "/whip/call/x", 404}, "live": {nobody, http.MethodGet, "/healthz", 200},
	} {
		transport := &http.Transport{TLSClientConfig: c.by.Clone()}
		r, err := http.NewRequestWithContext(ctx, c.method, "https://"+s.http+c.path, strings.NewReader("v=0\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/sdp")
		got, err := (&http.Client{Transport: transport}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = got.Body.Close()
		transport.CloseIdleConnections()
		if got.StatusCode != c.want {
			t.Errorf("%s: %s, want %d", name, got.Status, c.want)
		}
	}

	both := startServe(t, nil, "--tls-cert="+cert, "--tls-key="+key, "--tls-client-ca="+a.file, "--tls-client-auth=required", "--auth-token-file="+file(t, "token", "0123456789abcdef"))
	by := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer 0123456789abcdef")
	_, err = dial(both, nobody).GetSession(by, get)
	want("a token alone", err, codes.Unauthenticated)
	_, err = dial(both, reader).CreateSession(by, &penstockv1.CreateSessionRequest{SessionId: "call"})
	want("a token beside a certificate that allows less", err, codes.OK)
	_, err = dial(both, acme).GetSession(ctx, get)
	want("the certificate's own tenant", err, codes.NotFound)
}
