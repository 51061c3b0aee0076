package identity

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// certificate returns one that is good for a minute, changed.
func certificate(change ...func(*x509.Certificate)) *x509.Certificate {
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: "anna", Organization: []string{"acme"}, OrganizationalUnit: []string{"stream"}}, NotAfter: time.Now().Add(time.Minute),
	}
	for _, f := range change {
		f(c)
	}
	return c
}

// TestO3_CertificatesAreIdentities: the first URI, else DNS name, else common name is the subject, the only organization the tenant, the units the actions, or those that are set where
// there is no unit. What makes no identity, and one that has expired on a connection that goes on, is refused.
func TestO3_CertificatesAreIdentities(t *testing.T) {
	a := start(t, Config{Certificates: true, CertificateActions: Signal})
	workload := &url.URL{Scheme: "spiffe", Host: "acme", Path: "/anna"}
	for name, c := range map[string]struct {
		change  func(*x509.Certificate)
		subject string
		tenant  string
		actions Action
	}{
		"common name": {func(*x509.Certificate) {}, "anna", "acme", Stream},
		"DNS name":    {func(c *x509.Certificate) { c.DNSNames = []string{"a.example", "b.example"} }, "a.example", "acme", Stream},
		"URI":         {func(c *x509.Certificate) { c.DNSNames, c.URIs = []string{"a.example"}, []*url.URL{workload} }, "spiffe://acme/anna", "acme", Stream},
		"no tenant":   {func(c *x509.Certificate) { c.Subject.Organization = nil }, "anna", "", Stream},
		"no unit":     {func(c *x509.Certificate) { c.Subject.OrganizationalUnit = nil }, "anna", "acme", Signal},
		"other units": {func(c *x509.Certificate) { c.Subject.OrganizationalUnit = []string{"sales"} }, "anna", "acme", None},
		"two units":   {func(c *x509.Certificate) { c.Subject.OrganizationalUnit = []string{"admin", "stream"} }, "anna", "acme", Admin | Stream},
	} {
		shown := certificate(c.change)
		i, err := a.Authenticate(t.Context(), Credentials{Certificate: shown})
		if want := (Identity{Subject: c.subject, Tenant: c.tenant, Actions: c.actions, Expires: shown.NotAfter}); err != nil || !reflect.DeepEqual(i, want) {
			t.Errorf("%s: %+v, %v, want %+v", name, i, err, want)
		}
	}
	for name, c := range map[string]struct {
		change func(*x509.Certificate)
		want   error
	}{
		"nobody":        {func(c *x509.Certificate) { c.Subject.CommonName = "" }, ErrCertificate},
		"two tenants":   {func(c *x509.Certificate) { c.Subject.Organization = []string{"acme", "zeta"} }, ErrCertificate},
		"hostile":       {func(c *x509.Certificate) { c.Subject.Organization = []string{"a/b"} }, ErrCertificate},
		"hostile name":  {func(c *x509.Certificate) { c.Subject.CommonName = "a\nb" }, ErrCertificate},
		"over meantime": {func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }, ErrExpired},
	} {
		if i, err := a.Authenticate(t.Context(), Credentials{Certificate: certificate(c.change)}); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
	if _, err := a.Authenticate(t.Context(), Credentials{}); !errors.Is(err, ErrNone) {
		t.Errorf("none: %v", err)
	}
}

// TestO3_ACertificateMayBeAskedForBesideAToken: then neither is enough alone, the token says who it is, and the identity ends with the first of the two.
func TestO3_ACertificateMayBeAskedForBesideAToken(t *testing.T) {
	shared := strings.Repeat("t", 16)
	a := start(t, Config{Token: shared, JWT: &JWTConfig{Secrets: [][]byte{secret}}, Certificates: true, CertificateRequired: true})
	short, long := certificate(), certificate(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(48 * time.Hour) })
	token := signed(t, jwt.SigningMethodHS256, secret, nil, good(with("tenant", "zeta")))
	with := func(token string, c *x509.Certificate) (Identity, error) {
		return a.Authenticate(t.Context(), Credentials{Authorization: []string{"Bearer " + token}, Certificate: c})
	}
	if _, err := with(token, nil); !errors.Is(err, ErrCertificate) {
		t.Errorf("a token alone: %v", err)
	}
	if _, err := with("x", long); !errors.Is(err, ErrMalformed) {
		t.Errorf("a bad token beside it: %v", err)
	}
	if i, err := with(token, short); err != nil || i.Tenant != "zeta" || !i.Expires.Equal(short.NotAfter) {
		t.Errorf("a certificate that ends first: %+v, %v", i, err)
	}
	if i, err := with(token, long); err != nil || !i.Expires.Before(long.NotAfter) || i.Expires.IsZero() {
		t.Errorf("a token that ends first: %+v, %v", i, err)
	}
	if i, err := with(shared, short); err != nil || i.Subject != TokenSubject || !i.Expires.Equal(short.NotAfter) {
		t.Errorf("a token without end: %+v, %v", i, err)
	}
}
