package identity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// Bounds of what an identity may hold, so that it fits into the proof of a forwarded call, and into counters by tenant and subject.
const (
	maxSubject  = 256 // bytes
	maxTenant   = 64  // characters
	maxPatterns = 32
	maxPattern  = 128  // characters
	maxScope    = 2048 // bytes of all patterns
)

// claims are those of a token. What is not named here, but for the tenant, is not looked at.
type claims struct {
	jwt.RegisteredClaims
	Sessions words
	Actions  words
	all      map[string]json.RawMessage
}

// UnmarshalJSON implements json.Unmarshaler. Names are compared as they are, and none may be there twice (RFC 7519 section 4): encoding/json alone would take "Actions" for
// actions too, and the last of two, though an issuer means nothing by the one, or the other one.
func (c *claims) UnmarshalJSON(b []byte) error {
	var err error
	if c.all, err = members(b); err != nil {
		return err
	}
	for name, to := range map[string]any{
		"iss": &c.Issuer, "sub": &c.Subject, "aud": &c.Audience, "exp": &c.ExpiresAt, "nbf": &c.NotBefore, "iat": &c.IssuedAt, "sessions": &c.Sessions, "actions": &c.Actions,
	} {
		if raw, ok := c.all[name]; ok && json.Unmarshal(raw, to) != nil { // without its text, which may be anything
			return fmt.Errorf("%w: %s is not of its type", ErrClaims, name)
		}
	}
	return nil
}

// members returns those of a JSON object that is well formed. Errors: ErrMalformed of another value, ErrClaims where a name is there twice.
func members(b []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, fmt.Errorf("%w: its claims are no object", ErrMalformed)
	}
	all := map[string]json.RawMessage{}
	for d.More() {
		key, err := d.Token()
		name, ok := key.(string)
		if err != nil || !ok {
			return nil, fmt.Errorf("%w: its claims are no object", ErrMalformed)
		}
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("%w: one is there twice", ErrClaims)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, fmt.Errorf("%w: its claims are no object", ErrMalformed)
		}
		all[name] = value
	}
	return all, nil
}

// words is a claim that is a list of texts, or one text with blanks between (as in RFC 8693 section 4.2).
type words struct {
	list []string
	set  bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (w *words) UnmarshalJSON(b []byte) error {
	var one string
	if err := json.Unmarshal(b, &one); err == nil {
		*w = words{strings.Fields(one), true} // null is an empty list, as some issuers write one, and not a claim that is left out
		return nil
	}
	var many []string
	if err := json.Unmarshal(b, &many); err != nil {
		return fmt.Errorf("%w: neither a text nor a list of texts", ErrClaims)
	}
	*w = words{many, true}
	return nil
}

// identity returns who the claims say that the caller is, of the tenant that a claim names. It is good until exp, and for the leeway after, as far as clocks may
// differ. Errors: ErrClaims.
func (c *claims) identity(tenantClaim string, leeway time.Duration) (Identity, error) {
	tenant, err := c.tenant(tenantClaim)
	if err != nil {
		return Identity{}, err
	}
	i := Identity{Subject: c.Subject, Tenant: tenant, Sessions: c.Sessions.list, Expires: c.ExpiresAt.Add(leeway)}
	if c.Sessions.set && len(i.Sessions) == 0 {
		return Identity{}, fmt.Errorf("%w: sessions is there and empty; leave it out for all", ErrClaims)
	}
	for _, name := range c.Actions.list {
		if a, ok := ParseAction(name); ok { // Others may be for somebody else, or for a later version.
			i.Actions |= a
		}
	}
	return i, i.check()
}

// check tells whether an identity keeps to the bounds. Errors: ErrClaims.
func (i Identity) check() error {
	if err := checkSubject(i.Subject); err != nil {
		return err
	}
	if len(i.Tenant) > maxTenant || strings.IndexFunc(i.Tenant, notInID) >= 0 {
		return fmt.Errorf("%w: a tenant has up to %d characters of A-Z a-z 0-9 . _ ~ -", ErrClaims, maxTenant)
	}
	total := 0
	for _, p := range i.Sessions {
		total += len(p)
		if p == "" || len(p) > maxPattern || strings.IndexFunc(p, func(r rune) bool { return r != '*' && notInID(r) }) >= 0 {
			return fmt.Errorf("%w: a pattern of sessions has 1 to %d characters of A-Z a-z 0-9 . _ ~ - and *", ErrClaims, maxPattern)
		}
	}
	if len(i.Sessions) > maxPatterns || total > maxScope {
		return fmt.Errorf("%w: sessions has more than %d patterns, or %d bytes", ErrClaims, maxPatterns, maxScope)
	}
	if i.Expires.Year() > 9999 || i.Expires.Year() < 0 {
		return fmt.Errorf("%w: exp is out of range", ErrClaims)
	}
	return nil
}

// checkSubject tells whether a subject can be shown in a log.
func checkSubject(s string) error {
	if len(s) > maxSubject || !utf8.ValidString(s) || strings.IndexFunc(s, unicode.IsControl) >= 0 {
		return fmt.Errorf("%w: a subject has up to %d bytes of UTF-8, and no control characters", ErrClaims, maxSubject)
	}
	return nil
}

// notInID tells what ids of sessions, and so their patterns, do not have (RFC 3986 section 2.3).
func notInID(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._~-", r)
}

// tenant returns the tenant that a claim names. One that is not there is the tenant "".
func (c *claims) tenant(claim string) (string, error) {
	raw, ok := c.all[claim]
	if !ok {
		return "", nil
	}
	var tenant *string
	if err := json.Unmarshal(raw, &tenant); err != nil || tenant == nil {
		return "", fmt.Errorf("%w: %s is not a text", ErrClaims, claim)
	}
	return *tenant, nil
}
