package identity

import (
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

// claims are those of a token. What is not named here is not looked at.
type claims struct {
	jwt.RegisteredClaims
	Sessions words `json:"sessions"`
	Actions  words `json:"actions"`
	tenant   string
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
		*w = words{strings.Fields(one), string(b) != "null"}
		return nil
	}
	var many []string
	if err := json.Unmarshal(b, &many); err != nil {
		return fmt.Errorf("%w: neither a text nor a list of texts", ErrClaims)
	}
	*w = words{many, true}
	return nil
}

// identity returns who the claims say that the caller is. It is good until exp, and for the leeway after, as far as clocks may differ. Errors: ErrClaims.
func (c *claims) identity(leeway time.Duration) (Identity, error) {
	i := Identity{Subject: c.Subject, Tenant: c.tenant, Sessions: c.Sessions.list, Expires: c.ExpiresAt.Add(leeway)}
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

// tenantOf returns the tenant that a token's payload names in a claim. One that is not there is the tenant "".
func tenantOf(payload []byte, claim string) (string, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(payload, &all); err != nil {
		return "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	raw, ok := all[claim]
	if !ok {
		return "", nil
	}
	var tenant *string
	if err := json.Unmarshal(raw, &tenant); err != nil || tenant == nil {
		return "", fmt.Errorf("%w: %s is not a text", ErrClaims, claim)
	}
	return *tenant, nil
}
