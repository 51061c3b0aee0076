package identity

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
)

// Config says who may call. The zero Config asks nobody who it is.
type Config struct {
	// Token is a bearer token of the tenant "" that may do everything; empty is none. Secret.
	Token string
	// TokenNow returns the one that is good now, where it changes; Token is only the first one then. It must be quick, and safe for concurrent use. nil keeps Token.
	TokenNow func() string
	// JWT says which JSON Web Tokens are good; nil is none.
	JWT *JWTConfig
	// Certificates lets verified client certificates be identities, where there is no token.
	Certificates bool
	// CertificateRequired asks for one beside a token too.
	CertificateRequired bool
	// CertificateActions is what a certificate allows that names no action itself.
	CertificateActions Action
	// Logger is told of keys that cannot be fetched; nil discards.
	Logger *slog.Logger
}

// Credentials are what a call shows.
type Credentials struct {
	// Authorization are the values of its authorization header (RFC 6750).
	Authorization []string
	// Certificate is the client certificate of its connection, verified by who serves it; nil without one.
	Certificate *x509.Certificate
}

// Authenticator finds out who calls. Its methods are safe for concurrent use.
type Authenticator struct {
	cfg    Config
	jwt    *verifier
	counts []atomic.Uint64 // by index of faults
}

// TokenSubject is the subject of everybody who has the only shared token that there is.
const TokenSubject = "token"

// New returns an authenticator. It fetches the keys that there may be; Close must be called. Errors: ErrConfig.
func New(ctx context.Context, cfg Config) (*Authenticator, error) {
	a := &Authenticator{cfg: cfg, counts: make([]atomic.Uint64, len(faults))}
	if a.cfg.Logger == nil {
		a.cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.JWT == nil {
		return a, nil
	}
	j := *cfg.JWT
	if err := j.complete(); err != nil {
		return nil, err
	}
	var keys *keySet
	if j.JWKS != "" {
		var err error
		if keys, err = newKeySet(ctx, j.JWKS, a.cfg.Logger); err != nil {
			return nil, err
		}
	}
	a.jwt = newVerifier(j, keys)
	return a, nil
}

// Close ends what runs beside calls.
func (a *Authenticator) Close() {
	if a.jwt != nil && a.jwt.keys != nil {
		a.jwt.keys.close()
	}
}

// Asks tells whether callers are asked who they are.
func (a *Authenticator) Asks() bool {
	return a.cfg.Token != "" || a.jwt != nil || a.cfg.Certificates
}

// Refused returns how often credentials were refused, by the names of Faults.
func (a *Authenticator) Refused() map[string]uint64 {
	out := make(map[string]uint64, len(faults))
	for i, f := range faults {
		out[f.name] = a.counts[i].Load()
	}
	return out
}

// KeyFailures returns how often keys could not be fetched.
func (a *Authenticator) KeyFailures() uint64 {
	if a.jwt == nil || a.jwt.keys == nil {
		return 0
	}
	return a.jwt.keys.failures.Load()
}

// Keys returns how many public keys there are to check tokens by, and whether a key set is configured.
func (a *Authenticator) Keys() (n int, configured bool) {
	if a.jwt == nil || a.jwt.keys == nil {
		return 0, false
	}
	a.jwt.keys.mu.Lock()
	defer a.jwt.keys.mu.Unlock()
	return len(a.jwt.keys.keys), true
}

// Authenticate returns who shows credentials; Anybody where nobody is asked. Errors: those of the package, counted.
func (a *Authenticator) Authenticate(ctx context.Context, c Credentials) (Identity, error) {
	if !a.Asks() {
		return Anybody(), nil
	}
	i, err := a.authenticate(ctx, c)
	if err != nil {
		a.counts[faultIndex(err)].Add(1)
		return Identity{}, err
	}
	return i, nil
}

func (a *Authenticator) authenticate(ctx context.Context, c Credentials) (Identity, error) {
	var shown Identity
	if a.cfg.Certificates && c.Certificate != nil {
		var err error
		if shown, err = a.ofCertificate(c.Certificate); err != nil {
			return Identity{}, err
		}
	} else if a.cfg.CertificateRequired {
		return Identity{}, ErrCertificate
	}
	token, err := bearer(c.Authorization)
	switch {
	case err != nil:
		return Identity{}, err
	case token != "":
		who, err := a.ofToken(ctx, token)
		if a.cfg.CertificateRequired && (who.Expires.IsZero() || shown.Expires.Before(who.Expires)) {
			who.Expires = shown.Expires // It takes both.
		}
		return who, err
	case a.cfg.Certificates && c.Certificate != nil:
		return shown, nil
	}
	return Identity{}, ErrNone
}

// bearer returns the token of an authorization header (RFC 6750 section 2.1), or none. Which of two is meant nobody knows.
func bearer(authorization []string) (string, error) {
	switch len(authorization) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", fmt.Errorf("%w: there is more than one", ErrMalformed)
	}
	if len(authorization[0]) > DefaultMaxBytes {
		return "", ErrTooLarge
	}
	scheme, token, _ := strings.Cut(authorization[0], " ")
	token = strings.TrimLeft(token, " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return "", fmt.Errorf("%w: no bearer token", ErrMalformed)
	}
	return token, nil
}

// ofToken returns who has a token. Digests are compared, so that the time taken tells neither the shared token nor its length.
func (a *Authenticator) ofToken(ctx context.Context, token string) (Identity, error) {
	good := a.cfg.Token
	if good != "" && a.cfg.TokenNow != nil {
		good = a.cfg.TokenNow()
	}
	given, wanted := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(good))
	if subtle.ConstantTimeCompare(wanted[:], given[:]) == 1 && good != "" {
		return Identity{Subject: TokenSubject, Actions: All}, nil
	}
	if a.jwt == nil {
		return Identity{}, ErrMalformed
	}
	return a.jwt.verify(ctx, token)
}

// ofCertificate returns who has a client certificate that was verified: its first URI, or else its first DNS name, or else its common name; of the tenant that its organization
// names, with the actions that its organizational units name. Errors: ErrCertificate, ErrExpired.
func (a *Authenticator) ofCertificate(c *x509.Certificate) (Identity, error) {
	i := Identity{Subject: c.Subject.CommonName, Expires: c.NotAfter}
	switch {
	case len(c.URIs) > 0:
		i.Subject = c.URIs[0].String()
	case len(c.DNSNames) > 0:
		i.Subject = c.DNSNames[0]
	}
	if n := len(c.Subject.Organization); n == 1 {
		i.Tenant = c.Subject.Organization[0]
	} else if n > 1 {
		return Identity{}, fmt.Errorf("%w: it has more than one organization", ErrCertificate)
	}
	for _, unit := range c.Subject.OrganizationalUnit {
		if action, ok := ParseAction(unit); ok {
			i.Actions |= action
		}
	}
	if len(c.Subject.OrganizationalUnit) == 0 {
		i.Actions = a.cfg.CertificateActions
	}
	if i.Subject == "" {
		return Identity{}, fmt.Errorf("%w: it names nobody", ErrCertificate)
	}
	if err := i.check(); err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	if i.Expired(time.Now()) { // The connection may be older than that.
		return Identity{}, ErrExpired
	}
	return i, nil
}
