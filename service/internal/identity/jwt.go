package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Defaults and bounds of JWTConfig.
const (
	// MinSecret is the least length of a shared secret, in bytes: that of the weakest hash (RFC 7518 section 3.2).
	MinSecret = 32
	// DefaultLeeway is how far clocks may differ.
	DefaultLeeway = 5 * time.Second
	// DefaultMaxLife is how long a token may be good for.
	DefaultMaxLife = 24 * time.Hour
	// DefaultMaxBytes is how long a token may be.
	DefaultMaxBytes = 8 << 10
	// DefaultTenantClaim names the claim that holds the tenant.
	DefaultTenantClaim = "tenant"
)

// JWTConfig says which JSON Web Tokens (RFC 7519) are good. The zero value of a field is its default where one is named.
type JWTConfig struct {
	// Secrets sign tokens by HS256, HS384 and HS512; each is good, so that they can be changed one after another. At least MinSecret bytes. Secret.
	Secrets [][]byte
	// SecretsNow returns those that are good now, where they change; Secrets are only the first ones then. It must be quick, and safe for concurrent use. What it returns is not changed. nil keeps Secrets.
	SecretsNow func() [][]byte
	// JWKS is where the public keys of RS, PS, ES and EdDSA tokens are (RFC 7517): an https URL, an http one of this machine, or a file.
	JWKS string
	// Issuer is the iss that tokens must have; empty asks for none.
	Issuer string
	// Audiences are those of which a token's aud must name one; none asks for none.
	Audiences []string
	// TenantClaim names the claim that holds the tenant. Default DefaultTenantClaim.
	TenantClaim string
	// Leeway is how far clocks may differ. Default DefaultLeeway.
	Leeway time.Duration
	// MaxLife is how far in the future exp may be. Default DefaultMaxLife.
	MaxLife time.Duration
}

// complete fills in defaults and names the first fault.
func (c *JWTConfig) complete() error {
	for _, s := range c.Secrets {
		if len(s) < MinSecret {
			return fmt.Errorf("%w: a secret of %d bytes; at least %d are needed", ErrConfig, len(s), MinSecret)
		}
	}
	if len(c.Secrets) == 0 && c.JWKS == "" {
		return fmt.Errorf("%w: neither Secrets nor JWKS", ErrConfig)
	}
	if c.Leeway < 0 || c.MaxLife < 0 {
		return fmt.Errorf("%w: Leeway and MaxLife must not be negative", ErrConfig)
	}
	if c.TenantClaim == "" {
		c.TenantClaim = DefaultTenantClaim
	}
	if c.Leeway == 0 {
		c.Leeway = DefaultLeeway
	}
	if c.MaxLife == 0 {
		c.MaxLife = DefaultMaxLife
	}
	return nil
}

// The algorithms (RFC 7518 section 3.1, RFC 8037): which a token may have follows from the keys that there are, and from nothing that it says.
var (
	algorithmsOfSecrets = []string{"HS256", "HS384", "HS512"}
	algorithmsOfKeys    = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)

// verifier checks tokens. It is safe for concurrent use.
type verifier struct {
	cfg        JWTConfig
	keys       *keySet // nil without JWKS
	algorithms []string
	parser     *jwt.Parser
	now        func() time.Time
}

// newVerifier returns a verifier of a configuration that is complete.
func newVerifier(cfg JWTConfig, keys *keySet) *verifier {
	v := &verifier{cfg: cfg, keys: keys, now: time.Now}
	if len(cfg.Secrets) > 0 {
		v.algorithms = append(v.algorithms, algorithmsOfSecrets...)
	}
	if keys != nil {
		v.algorithms = append(v.algorithms, algorithmsOfKeys...)
	}
	opts := []jwt.ParserOption{
		jwt.WithValidMethods(v.algorithms), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(cfg.Leeway), jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(func() time.Time { return v.now() }),
	}
	if cfg.Issuer != "" {
		opts = append(opts, jwt.WithIssuer(cfg.Issuer))
	}
	if len(cfg.Audiences) > 0 {
		opts = append(opts, jwt.WithAudience(cfg.Audiences...))
	}
	v.parser = jwt.NewParser(opts...)
	return v
}

// verify returns who has a token. Nothing of it is believed before its signature is checked but which key is to check it. Errors: those of the package.
func (v *verifier) verify(ctx context.Context, token string) (Identity, error) {
	if len(token) > DefaultMaxBytes {
		return Identity{}, ErrTooLarge
	}
	c := &claims{}
	_, err := v.parser.ParseWithClaims(token, c, func(t *jwt.Token) (any, error) { return v.keyOf(ctx, t) })
	if err != nil {
		return Identity{}, explained(err)
	}
	if c.ExpiresAt.Sub(v.now()) > v.cfg.MaxLife+v.cfg.Leeway {
		return Identity{}, fmt.Errorf("%w: exp is further off than tokens may live", ErrClaims)
	}
	return c.identity(v.cfg.TenantClaim, v.cfg.Leeway)
}

// keyOf returns the keys that a token may be checked by, of its algorithm only: an HMAC is never checked by a public key.
func (v *verifier) keyOf(ctx context.Context, t *jwt.Token) (any, error) {
	if _, ok := t.Header["crit"]; ok { // No extension is understood (RFC 7515 section 4.1.11).
		return nil, fmt.Errorf("%w: it has critical extensions", ErrAlgorithm)
	}
	algorithm := t.Method.Alg()
	if slices.Contains(algorithmsOfSecrets, algorithm) {
		secrets, set := v.cfg.Secrets, jwt.VerificationKeySet{}
		if v.cfg.SecretsNow != nil {
			secrets = v.cfg.SecretsNow()
		}
		for _, s := range secrets {
			set.Keys = append(set.Keys, s)
		}
		return set, nil
	}
	kid, ok := t.Header["kid"].(string)
	if _, there := t.Header["kid"]; there && !ok {
		return nil, fmt.Errorf("%w: kid is not a text", ErrKey)
	}
	return v.keys.key(ctx, kid, algorithm)
}

// explained returns the package's error for one of the parser's. The order is that of what says most.
func explained(err error) error {
	for _, f := range faults { // keyOf and claims have said it
		if errors.Is(err, f.err) {
			return err
		}
	}
	for _, e := range []struct{ theirs, ours error }{
		{jwt.ErrTokenMalformed, ErrMalformed}, {jwt.ErrTokenUnverifiable, ErrAlgorithm}, {jwt.ErrTokenSignatureInvalid, ErrSignature},
		{jwt.ErrTokenInvalidAudience, ErrAudience}, {jwt.ErrTokenInvalidIssuer, ErrIssuer}, {jwt.ErrTokenExpired, ErrExpired},
		{jwt.ErrTokenNotValidYet, ErrNotYet}, {jwt.ErrTokenUsedBeforeIssued, ErrNotYet}, {jwt.ErrTokenRequiredClaimMissing, ErrClaims},
	} {
		if errors.Is(err, e.theirs) {
			if errors.Is(e.ours, ErrSignature) && strings.Contains(err.Error(), "signing method") { // An algorithm that is not accepted is told no better.
				return fmt.Errorf("%w: %w", ErrAlgorithm, err)
			}
			return fmt.Errorf("%w: %w", e.ours, err)
		}
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}
