package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/penstock-media/penstock/service"
)

// minJWTSecret is the shortest secret of tokens: that of the weakest hash (RFC 7518 section 3.2).
const minJWTSecret = 32

// AsksCallers tells whether callers must show who they are.
func (c *Config) AsksCallers() bool {
	return c.AuthToken != "" || c.JWTSecret != "" || c.JWTJWKS != "" || c.TLSClientCA != ""
}

// JWT returns which JSON Web Tokens are good; nil is none.
func (c *Config) JWT() *service.JWTConfig {
	if c.JWTSecret == "" && c.JWTJWKS == "" {
		return nil
	}
	j := &service.JWTConfig{
		JWKS: c.JWTJWKS, Issuer: c.JWTIssuer, Audiences: c.JWTAudience, TenantClaim: c.JWTTenantClaim, Leeway: c.JWTLeeway, MaxLife: c.JWTMaxLifetime,
	}
	for _, s := range strings.Fields(string(c.JWTSecret)) {
		j.Secrets = append(j.Secrets, []byte(s))
	}
	return j
}

// ReadJWTSecrets reads JWTSecretFile again. Errors: *Error.
func (c *Config) ReadJWTSecrets() ([][]byte, error) {
	again := *c
	again.JWTSecret = ""
	if err := readSecret("jwt-secret", "secret", again.JWTSecretFile, &again.JWTSecret); err != nil {
		return nil, err
	}
	if err := again.validateJWT(); err != nil {
		return nil, err
	}
	return again.JWT().Secrets, nil
}

// ReadAuthToken reads AuthTokenFile again, and returns the token. Errors: *Error.
func (c *Config) ReadAuthToken() ([][]byte, error) {
	again := *c
	again.AuthToken = ""
	if err := readSecret("auth-token", "token", again.AuthTokenFile, &again.AuthToken); err != nil {
		return nil, err
	}
	if err := again.validateSecrets(); err != nil {
		return nil, err
	}
	return [][]byte{[]byte(again.AuthToken)}, nil
}

// MinTLS returns the lowest version of TLS.
func (c *Config) MinTLS() uint16 {
	if c.TLSMinVersion == "1.2" {
		return tls.VersionTLS12
	}
	return tls.VersionTLS13
}

func (c *Config) validateJWT() error {
	for _, s := range strings.Fields(string(c.JWTSecret)) {
		if len(s) < minJWTSecret {
			return &Error{"jwt-secret", fmt.Sprintf("has only %d characters", len(s)), fmt.Sprintf("use at least %d random ones, for example from `openssl rand -hex 32`", minJWTSecret)}
		}
	}
	if err := service.CheckJWKS(c.JWTJWKS); c.JWTJWKS != "" && err != nil {
		return &Error{"jwt-jwks", "is neither a file, nor an https URL, nor an http one of this machine", "name one of these: keys that come over http can be anybody's"}
	}
	for _, s := range []struct {
		setting string
		set     bool
	}{{"jwt-issuer", c.JWTIssuer != ""}, {"jwt-audience", len(c.JWTAudience) > 0}} {
		if s.set && c.JWT() == nil {
			return &Error{s.setting, "is set without keys of tokens", "set --jwt-secret-file or --jwt-jwks too, or leave this out"}
		}
	}
	if c.JWT() != nil && c.JWTTenantClaim == "" {
		return &Error{"jwt-tenant-claim", "is empty", "name the claim that holds the tenant; tokens without it are of the tenant \"\""}
	}
	for _, d := range []struct {
		name               string
		value, least, most time.Duration
	}{{"jwt-leeway", c.JWTLeeway, time.Second, 5 * time.Minute}, {"jwt-max-lifetime", c.JWTMaxLifetime, time.Minute, 8760 * time.Hour}, {"expiry-warning", c.ExpiryWarning, time.Second, 10 * time.Minute}} {
		if d.value < d.least || d.value > d.most {
			return &Error{d.name, fmt.Sprintf("%v is out of range", d.value), fmt.Sprintf("use %v to %v", d.least, d.most)}
		}
	}
	return nil
}

func (c *Config) validateClients() error {
	if err := oneOf("tls-min-version", c.TLSMinVersion, "1.3", "1.2"); err != nil {
		return err
	}
	if err := oneOf("tls-client-auth", c.TLSClientAuth, "optional", "required"); err != nil {
		return err
	}
	for _, action := range c.TLSClientActions {
		if !slices.Contains([]string{"signal", "stream", "admin"}, action) {
			return &Error{"tls-client-actions", fmt.Sprintf("%q is not an action", action), "use some of signal, stream, admin"}
		}
	}
	switch {
	case c.TLSClientCA == "" && c.TLSClientAuth == "required":
		return &Error{"tls-client-ca", "is missing while --tls-client-auth is required", "name the PEM file with the authorities of callers' certificates"}
	case c.TLSClientCA == "":
		return nil
	case c.TLSCert == "":
		return &Error{"tls-client-ca", "is set without --tls-cert", "set --tls-cert and --tls-key too, or leave this out"}
	}
	b, err := os.ReadFile(c.TLSClientCA)
	if err != nil {
		return &Error{"tls-client-ca", "cannot be read: " + err.Error(), "name a PEM file that this user may read"}
	}
	if !x509.NewCertPool().AppendCertsFromPEM(b) {
		return &Error{"tls-client-ca", "holds no certificate", "name a PEM file with certificates of authorities"}
	}
	return nil
}
