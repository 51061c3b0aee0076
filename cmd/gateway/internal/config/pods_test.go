package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPodSecretsComeOneALine: a file holds several secrets, of which the first is used, and blanks and empty lines are none.
func TestPodSecretsComeOneALine(t *testing.T) {
	file := write(t, "secrets", "\n  "+podSecret+"\r\n\n"+strings.Repeat("b", 40)+"\n")
	c, err := parse(t, "--redis-url=redis://a", "--pod-secret-file="+file)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range c.PodSecrets() {
		got = append(got, string(s))
	}
	if want := []string{podSecret, strings.Repeat("b", 40)}; !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}

// certificate writes a certificate and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes})))
}

// TestPodTLS: pods speak TLS to each other where they serve over it, show their own certificate, and verify that of the other by --pod-ca.
func TestPodTLS(t *testing.T) {
	cert, key := certificate(t)
	base := []string{"--redis-url=redis://a", "--pod-secret=" + podSecret, "--tls-cert=" + cert, "--tls-key=" + key}
	c, err := parse(t, append(base, "--pod-ca="+cert, "--pod-server-name=pods.example", "--pod-mtls")...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.PodTLS()
	if err != nil || got.RootCAs == nil || got.ServerName != "pods.example" || len(got.Certificates) != 1 {
		t.Errorf("calls go by %+v, %v", got, err)
	}
	if plain, err := (&Config{}).PodTLS(); plain != nil || err != nil {
		t.Errorf("without a certificate: %v, %v", plain, err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		args []string
		want string
	}{
		{[]string{"--pod-mtls"}, "--pod-ca (PENSTOCK_POD_CA): is missing"},
		{[]string{"--pod-ca=/none"}, "--pod-ca (PENSTOCK_POD_CA): cannot be read"},
		{[]string{"--pod-ca=" + empty}, "--pod-ca (PENSTOCK_POD_CA): holds no certificate"},
	} {
		if _, err := parse(t, append(slices.Clone(base), f.args...)...); err == nil || !strings.HasPrefix(err.Error(), f.want) {
			t.Errorf("%v: %v, want %s", f.args, err, f.want)
		}
	}
}
