package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// TestP1_PodsSpeakTLSToEachOther: gateways that serve over TLS call each other over it, verify each other's certificates and, with --pod-mtls, show their own; a worker needs none. One whose
// certificate is of another authority is not called, and none whose secret is another takes a call.
func TestP1_PodsSpeakTLSToEachOther(t *testing.T) {
	url, _ := startRedis(t)
	cert, key := certificate(t)
	otherCert, otherKey := certificate(t)
	ours := []string{"--redis-url=" + url, "--redis-timeout=30s", "--lease-ttl=1m", "--pod-secret=" + podSecret, "--tls-cert=" + cert, "--tls-key=" + key, "--pod-ca=" + cert}
	pem, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	start := func(roots *tls.Config, args ...string) penstockv1.SessionServiceClient {
		t.Helper()
		s := startServe(t, nil, args...)
		conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(credentials.NewTLS(roots)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return penstockv1.NewSessionServiceClient(conn)
	}
	worker := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	owner := start(worker, append(ours, "--pod-mtls")...)
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	if _, err := owner.CreateSession(ctx, &penstockv1.CreateSessionRequest{SessionId: "call"}); err != nil {
		t.Fatal(err)
	}
	candidate := &penstockv1.AddIceCandidateRequest{SessionId: "call", Candidate: &penstockv1.IceCandidate{Candidate: "candidate:1 1 udp 1 127.0.0.1 9 typ host"}}
	if _, err := start(worker, append(ours, "--pod-mtls")...).AddIceCandidate(ctx, candidate); err != nil {
		t.Errorf("by way of another pod: %v", err)
	}
	// The certificate of this one is not of the owner's authority, so that the proof alone is not enough.
	anything := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} //nolint:gosec // it is not what is tested
	for name, args := range map[string][]string{
		"another certificate": {"--redis-url=" + url, "--redis-timeout=30s", "--lease-ttl=1m", "--pod-secret=" + podSecret, "--tls-cert=" + otherCert, "--tls-key=" + otherKey, "--pod-ca=" + cert},
		"another authority":   {"--redis-url=" + url, "--redis-timeout=30s", "--lease-ttl=1m", "--pod-secret=" + podSecret, "--tls-cert=" + cert, "--tls-key=" + key, "--pod-ca=" + otherCert},
		"another secret":      {"--redis-url=" + url, "--redis-timeout=30s", "--lease-ttl=1m", "--pod-secret=x" + podSecret, "--tls-cert=" + cert, "--tls-key=" + key, "--pod-ca=" + cert},
	} {
		_, err := start(anything, args...).AddIceCandidate(ctx, candidate)
		if st := status.Convert(err); st.Code() != codes.Unavailable || reasonOf(st) != "SESSION_MOVING" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
