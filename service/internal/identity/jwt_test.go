package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// secret is a shared secret of the tests, and another one the one before.
var (
	secret  = []byte(strings.Repeat("s", MinSecret))
	another = []byte(strings.Repeat("a", MinSecret))
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// signed returns a token of claims; header replaces what the library writes there.
func signed(t testing.TB, method jwt.SigningMethod, key any, header map[string]any, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	maps.Copy(token.Header, header)
	s, err := token.SignedString(key)
	must(t, err)
	return s
}

// good are claims that are good for an hour.
func good(change ...func(jwt.MapClaims)) jwt.MapClaims {
	now := time.Now()
	c := jwt.MapClaims{
		"sub": "anna", "tenant": "acme", "actions": []string{"signal", "stream"}, "sessions": "room-* call", "iss": "https://issuer.example", "aud": []string{"penstock"},
		"exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "nbf": now.Unix(),
	}
	for _, f := range change {
		f(c)
	}
	return c
}

// with sets a claim; nil takes it away.
func with(name string, v any) func(jwt.MapClaims) {
	return func(c jwt.MapClaims) {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
}

// start returns an authenticator that ends with the test.
func start(t testing.TB, cfg Config) *Authenticator {
	t.Helper()
	a, err := New(t.Context(), cfg)
	must(t, err)
	t.Cleanup(a.Close)
	return a
}

// show authenticates by a bearer token.
func show(t testing.TB, a *Authenticator, token string) (Identity, error) {
	t.Helper()
	return a.Authenticate(t.Context(), Credentials{Authorization: []string{"Bearer " + token}})
}

// ofSecrets takes tokens of two secrets.
func ofSecrets() Config {
	return Config{JWT: &JWTConfig{Secrets: [][]byte{secret, another}, Issuer: "https://issuer.example", Audiences: []string{"penstock", "else"}}}
}

// TestO3_TokensOfASharedSecretSayWho: what a good token says is who the caller is, with either secret and each hash.
func TestO3_TokensOfASharedSecretSayWho(t *testing.T) {
	a := start(t, ofSecrets())
	for _, m := range []jwt.SigningMethod{jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512} {
		for _, key := range [][]byte{secret, another} {
			c := good()
			got, err := show(t, a, signed(t, m, key, nil, c))
			must(t, err)
			want := Identity{
				Subject: "anna", Tenant: "acme", Actions: Signal | Stream, Sessions: []string{"room-*", "call"}, Expires: time.Unix(c["exp"].(int64), 0).Add(DefaultLeeway),
			}
			if !got.Expires.Equal(want.Expires) {
				t.Errorf("good until %v, want %v", got.Expires, want.Expires)
			}
			got.Expires = want.Expires
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
	}
}

// TestO3_TokensOfASharedSecret: each token that is not good is refused for its own reason, and counted under it; what a good one does not say is not allowed.
func TestO3_TokensOfASharedSecret(t *testing.T) {
	a := start(t, ofSecrets())
	hs := func(header map[string]any, change ...func(jwt.MapClaims)) string {
		return signed(t, jwt.SigningMethodHS256, secret, header, good(change...))
	}
	now := time.Now()
	whole := hs(nil)
	unsigned := signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, good())
	cases := map[string]struct {
		token string
		want  error
	}{
		"expired":               {hs(nil, with("exp", now.Add(-time.Minute).Unix())), ErrExpired},
		"no exp":                {hs(nil, with("exp", nil)), ErrClaims},
		"exp too far":           {hs(nil, with("exp", now.Add(48*time.Hour).Unix())), ErrClaims},
		"exp out of range":      {hs(nil, with("exp", 1e18)), ErrClaims},
		"not yet valid":         {hs(nil, with("nbf", now.Add(time.Minute).Unix())), ErrNotYet},
		"made in the future":    {hs(nil, with("iat", now.Add(time.Minute).Unix())), ErrNotYet},
		"wrong issuer":          {hs(nil, with("iss", "https://other.example")), ErrIssuer},
		"no issuer":             {hs(nil, with("iss", nil)), ErrClaims},
		"wrong audience":        {hs(nil, with("aud", "somebody")), ErrAudience},
		"no audience":           {hs(nil, with("aud", nil)), ErrClaims},
		"wrong secret":          {signed(t, jwt.SigningMethodHS256, []byte(strings.Repeat("x", 32)), nil, good()), ErrSignature},
		"alg none":              {unsigned, ErrAlgorithm},
		"alg None":              {strings.Replace(unsigned, base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"`))[:12], base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"None"`))[:12], 1), ErrAlgorithm},
		"signed as none":        {strings.TrimSuffix(whole, whole[strings.LastIndex(whole, ".")+1:]), ErrSignature},
		"critical extension":    {hs(map[string]any{"crit": []string{"b64"}, "b64": false}), ErrAlgorithm},
		"changed":               {whole[:len(whole)/2] + flip(whole[len(whole)/2]) + whole[len(whole)/2+1:], nil},
		"oversize":              {hs(nil, with("fill", strings.Repeat("x", DefaultMaxBytes))), ErrTooLarge},
		"tenant is a number":    {hs(nil, with("tenant", 7)), ErrClaims},
		"tenant is null":        {hs(nil, func(c jwt.MapClaims) { c["tenant"] = json.RawMessage("null") }), ErrClaims},
		"hostile tenant":        {hs(nil, with("tenant", "a/b")), ErrClaims},
		"long tenant":           {hs(nil, with("tenant", strings.Repeat("t", 65))), ErrClaims},
		"hostile pattern":       {hs(nil, with("sessions", "a{b}")), ErrClaims},
		"no pattern":            {hs(nil, with("sessions", []string{})), ErrClaims},
		"an empty pattern":      {hs(nil, with("sessions", []string{""})), ErrClaims},
		"patterns are a number": {hs(nil, with("sessions", 1)), ErrClaims},
		"many patterns":         {hs(nil, with("sessions", strings.Repeat("a ", 33))), ErrClaims},
		"subject with newline":  {hs(nil, with("sub", "a\nb")), ErrClaims},
		"long subject":          {hs(nil, with("sub", strings.Repeat("s", 257))), ErrClaims},
		"not a token":           {"hello", ErrMalformed},
		"two parts":             {"a.b", ErrMalformed},
		"empty parts":           {"..", ErrMalformed},
	}
	before := a.Refused()
	want := maps.Clone(before)
	for name, c := range cases {
		_, err := show(t, a, c.token)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
			continue
		}
		want[Fault(err)]++
		if strings.Contains(err.Error(), "room-*") || len(c.token) > 20 && strings.Contains(err.Error(), c.token[len(c.token)-10:]) {
			t.Errorf("%s: the error tells of the token: %v", name, err)
		}
	}
	if got := a.Refused(); !reflect.DeepEqual(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
	if i, err := show(t, a, hs(nil, with("actions", nil), with("sessions", nil), with("tenant", nil))); err != nil || i.Actions != None || i.Tenant != "" || i.Sessions != nil {
		t.Errorf("without claims: %+v, %v", i, err)
	}
	if i, err := show(t, a, hs(nil, with("actions", "admin fly"))); err != nil || i.Actions != Admin {
		t.Errorf("of an action that is not known: %+v, %v", i, err)
	}
}

// TestO3_ClaimsCountByTheirNames: a name that is spelled otherwise is another claim, one that is there twice is refused, and null is nothing, not all.
func TestO3_ClaimsCountByTheirNames(t *testing.T) {
	a := start(t, Config{JWT: &JWTConfig{Secrets: [][]byte{secret}}})
	raw := func(payload string) string {
		text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
		sum, err := jwt.SigningMethodHS256.Sign(text, secret)
		must(t, err)
		return text + "." + base64.RawURLEncoding.EncodeToString(sum)
	}
	spelled := func(members string) string {
		return raw(fmt.Sprintf(`{"exp":%d,%s}`, time.Now().Add(time.Hour).Unix(), members))
	}
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"patterns are null": {spelled(`"sessions":null`), ErrClaims}, // an empty list of Go's
		"two of one claim":  {spelled(`"actions":"stream","actions":"admin"`), ErrClaims},
		"two tenants":       {spelled(`"tenant":"acme","tenant":"zeta"`), ErrClaims},
		"claims are a list": {raw(`[]`), ErrMalformed},
		"exp is a text":     {raw(`{"exp":"4000000000"}`), ErrClaims},
	} {
		if i, err := show(t, a, c.token); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
	i, err := show(t, a, spelled(`"actions":"stream","Actions":"admin","ACTIONS":"signal","Sub":"eve","sessions":"call","Sessions":"*","Tenant":"zeta","EXP":1`))
	if err != nil || i.Actions != Stream || i.Subject != "" || i.Tenant != "" || !reflect.DeepEqual(i.Sessions, []string{"call"}) {
		t.Errorf("of claims that are spelled otherwise: %+v, %v", i, err)
	}
	if i, err := show(t, a, spelled(`"actions":null`)); err != nil || i.Actions != None {
		t.Errorf("of no action: %+v, %v", i, err)
	}
}

// flip returns another character of base64url.
func flip(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

// TestO3_LeewayIsTheSameAtBothEnds: a token is good as long after exp as before nbf, and the identity ends then.
func TestO3_LeewayIsTheSameAtBothEnds(t *testing.T) {
	a := start(t, Config{JWT: &JWTConfig{Secrets: [][]byte{secret}, Leeway: time.Minute}})
	at := time.Now().Truncate(time.Second)
	a.jwt.now = func() time.Time { return at }
	token := signed(t, jwt.SigningMethodHS256, secret, nil, jwt.MapClaims{"exp": at.Add(time.Hour).Unix(), "nbf": at.Unix()})
	for _, c := range []struct {
		now  time.Duration
		want error
	}{{-61 * time.Second, ErrNotYet}, {-59 * time.Second, nil}, {time.Hour + 59*time.Second, nil}, {time.Hour + 61*time.Second, ErrExpired}} {
		a.jwt.now = func() time.Time { return at.Add(c.now) }
		i, err := show(t, a, token)
		if !errors.Is(err, c.want) || err == nil && i.Expired(at.Add(c.now)) {
			t.Errorf("%v: %+v, %v", c.now, i, err)
		}
	}
}

// pairs are keys of each kind.
type pairs struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
	ed  ed25519.PrivateKey
}

func newPairs(t testing.TB) pairs {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	_, d, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return pairs{r, e, d}
}

// jwk returns the public half of a key.
func jwk(t testing.TB, key any, kid string, alg jwkset.ALG) jwkset.JWKMarshal {
	t.Helper()
	j, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid, ALG: alg}})
	must(t, err)
	return j.Marshal()
}

// document returns a key set.
func document(t testing.TB, keys ...jwkset.JWKMarshal) []byte {
	t.Helper()
	b, err := json.Marshal(jwkset.JWKSMarshal{Keys: keys})
	must(t, err)
	return b
}

// TestO3_TokensOfAKeySet: each algorithm of the key's own kind is good, and no other: an HMAC made with the public key, as it is or in PEM, is not; nor
// is a key that is for another algorithm, or weak, or secret.
func TestO3_TokensOfAKeySet(t *testing.T) {
	p := newPairs(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // that is what is tested
	must(t, err)
	only, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	keys := document(t,
		jwk(t, &p.rsa.PublicKey, "rsa", ""), jwk(t, &p.ec.PublicKey, "ec", ""), jwk(t, p.ed.Public(), "ed", ""), jwk(t, &weak.PublicKey, "weak", ""),
		jwk(t, &only.PublicKey, "only", "RS256"), jwkset.JWKMarshal{KTY: "oct", KID: "oct", K: base64.RawURLEncoding.EncodeToString(secret)}, jwkset.JWKMarshal{KTY: "EC", KID: "broken"},
		func() jwkset.JWKMarshal { k := jwk(t, &only.PublicKey, "enc", ""); k.USE = "enc"; return k }(),
	)
	server := newKeyServer(t, keys)
	for name, secrets := range map[string][][]byte{"keys alone": nil, "beside a secret": {secret}} {
		a := start(t, Config{JWT: &JWTConfig{JWKS: server.url, Secrets: secrets}})
		for _, c := range []struct {
			method jwt.SigningMethod
			key    any
			kid    string
		}{
			{jwt.SigningMethodRS256, p.rsa, "rsa"}, {jwt.SigningMethodRS512, p.rsa, "rsa"}, {jwt.SigningMethodPS384, p.rsa, "rsa"}, {jwt.SigningMethodES256, p.ec, "ec"},
			{jwt.SigningMethodEdDSA, p.ed, "ed"}, {jwt.SigningMethodRS256, only, "only"},
		} {
			if i, err := show(t, a, signed(t, c.method, c.key, map[string]any{"kid": c.kid}, good())); err != nil || i.Subject != "anna" {
				t.Errorf("%s: %s by %s: %+v, %v", name, c.method.Alg(), c.kid, i, err)
			}
		}
		if _, err := show(t, a, signed(t, jwt.SigningMethodEdDSA, p.ed, nil, good())); err != nil {
			t.Errorf("%s: without kid, and only one key fits: %v", name, err)
		}
		der, err := x509.MarshalPKIXPublicKey(&p.rsa.PublicKey)
		must(t, err)
		inPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		for what, c := range map[string]struct {
			token string
			want  error
		}{
			"HMAC by the public key":      {signed(t, jwt.SigningMethodHS256, der, map[string]any{"kid": "rsa"}, good()), nil},
			"HMAC by its PEM":             {signed(t, jwt.SigningMethodHS256, inPEM, map[string]any{"kid": "rsa"}, good()), nil},
			"HMAC by its modulus":         {signed(t, jwt.SigningMethodHS256, p.rsa.N.Bytes(), map[string]any{"kid": "rsa"}, good()), nil},
			"a secret of the set":         {signed(t, jwt.SigningMethodHS512, another, map[string]any{"kid": "oct"}, good()), nil},
			"none":                        {signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, map[string]any{"kid": "rsa"}, good()), ErrAlgorithm},
			"EC key for RSA":              {signed(t, jwt.SigningMethodRS256, p.rsa, map[string]any{"kid": "ec"}, good()), ErrKey},
			"another algorithm of a key":  {signed(t, jwt.SigningMethodRS384, only, map[string]any{"kid": "only"}, good()), ErrKey},
			"weak key":                    {signed(t, jwt.SigningMethodRS256, weak, map[string]any{"kid": "weak"}, good()), ErrKey},
			"key for encryption":          {signed(t, jwt.SigningMethodRS256, only, map[string]any{"kid": "enc"}, good()), ErrKey},
			"unknown kid":                 {signed(t, jwt.SigningMethodRS256, p.rsa, map[string]any{"kid": "new"}, good()), ErrKey},
			"kid is a number":             {signed(t, jwt.SigningMethodRS256, p.rsa, map[string]any{"kid": 1}, good()), ErrKey},
			"no kid, and two keys fit":    {signed(t, jwt.SigningMethodRS256, p.rsa, nil, good()), ErrKey},
			"another key of the same kid": {signed(t, jwt.SigningMethodRS256, only, map[string]any{"kid": "rsa"}, good()), ErrSignature},
			"a key of its own":            {signed(t, jwt.SigningMethodRS256, only, map[string]any{"jwk": jwk(t, &only.PublicKey, "", ""), "kid": "mine", "jku": server.url}, good()), ErrKey},
		} {
			if _, err := show(t, a, c.token); err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s: %s: %v, want %v", name, what, err, c.want)
			}
		}
	}
}

// TestO3_SharedToken: it may do everything; a JWT is good beside it, and nothing else is.
func TestO3_SharedToken(t *testing.T) {
	a := start(t, Config{Token: "0123456789abcdef", JWT: &JWTConfig{Secrets: [][]byte{secret}}})
	if i, err := show(t, a, "0123456789abcdef"); err != nil || i.Actions != All || i.Tenant != "" || i.Subject != TokenSubject || !i.Expires.IsZero() {
		t.Errorf("%+v, %v", i, err)
	}
	if _, err := show(t, a, signed(t, jwt.SigningMethodHS256, secret, nil, good())); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		header []string
		want   error
	}{
		"none": {nil, ErrNone}, "another": {[]string{"Bearer 0123456789abcdeF"}, ErrMalformed}, "basic": {[]string{"Basic 0123456789abcdef"}, ErrMalformed},
		"two": {[]string{"Bearer 0123456789abcdef", "Bearer 0123456789abcdef"}, ErrMalformed}, "empty": {[]string{""}, ErrMalformed}, "empty token": {[]string{"Bearer "}, ErrMalformed},
		"long": {[]string{"Bearer " + strings.Repeat("x", 1<<20)}, ErrTooLarge},
	} {
		if _, err := a.Authenticate(context.Background(), Credentials{Authorization: c.header}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	open := start(t, Config{})
	if i, err := open.Authenticate(t.Context(), Credentials{Authorization: []string{"Bearer x"}}); err != nil || !reflect.DeepEqual(i, Anybody()) || open.Asks() {
		t.Errorf("where nobody is asked: %+v, %v", i, err)
	}
	if i, err := start(t, Config{JWT: &JWTConfig{Secrets: [][]byte{secret}}}).Authenticate(t.Context(), Credentials{Authorization: []string{"Bearer "}}); err == nil {
		t.Errorf("no shared token, and none given: %+v", i)
	}
}

// TestO3_BadConfigurationsOfTokens are refused.
func TestO3_BadConfigurationsOfTokens(t *testing.T) {
	for name, c := range map[string]JWTConfig{
		"nothing": {}, "short secret": {Secrets: [][]byte{secret[1:]}}, "http": {JWKS: "http://issuer.example/keys"}, "negative": {Secrets: [][]byte{secret}, Leeway: -1},
	} {
		if a, err := New(t.Context(), Config{JWT: &c}); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v, %v", name, a, err)
		}
	}
	for source, want := range map[string]bool{"https://a/keys": true, "/etc/keys.json": true, "keys.json": true, "http://127.0.0.1:1/k": true, "http://[::1]/k": true, "http://10.0.0.1/": false, "ftp://a/b": false} {
		if err := CheckJWKS(source); (err == nil) != want {
			t.Errorf("%s: %v", source, err)
		}
	}
}

// FuzzToken: whatever a token is, reading it ends, and one that was not signed here is nobody's. What a signed one says of the caller keeps to the bounds.
func FuzzToken(f *testing.F) {
	whole := signed(f, jwt.SigningMethodHS256, secret, nil, good())
	f.Add(whole, `{"exp":4000000000,"sub":"a","tenant":"t","sessions":["a*"],"actions":"signal"}`)
	f.Add("..", `{"exp":1e300,"sessions":{}}`)
	f.Add("a.b.c", `{"exp":"1","aud":[1]}`)
	f.Add(signed(f, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, good()), `{"exp":null,"tenant":["x"]}`)
	a, err := New(context.Background(), Config{JWT: &JWTConfig{Secrets: [][]byte{secret}, MaxLife: 1 << 62}})
	must(f, err)
	stranger, err := New(context.Background(), Config{JWT: &JWTConfig{Secrets: [][]byte{another}}})
	must(f, err)
	f.Fuzz(func(t *testing.T, token, payload string) {
		if i, err := show(t, stranger, token); err == nil {
			t.Errorf("%q is %+v", token, i)
		}
		head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
		sum, err := jwt.SigningMethodHS256.Sign(head, secret)
		must(t, err)
		i, err := show(t, a, head+"."+base64.RawURLEncoding.EncodeToString(sum))
		if err != nil {
			return
		}
		if err := i.check(); err != nil || i.Expires.IsZero() || i.Expired(time.Now()) {
			t.Errorf("%q is %+v, %v", payload, i, err)
		}
		if _, err := json.Marshal(i); err != nil {
			t.Errorf("%+v cannot be proved: %v", i, err)
		}
	})
}
