package identity

import "errors"

// Why credentials are refused. Callers are told no more than that they are, and whether they have expired; the rest is for logs and counters.
var (
	// ErrConfig means that a Config cannot be used.
	ErrConfig = errors.New("identity: bad configuration")
	// ErrNone means that a call shows no credentials.
	ErrNone = errors.New("identity: no credentials")
	// ErrCertificate means that a call comes without a client certificate that is asked for, or with one whose names make no identity.
	ErrCertificate = errors.New("identity: no client certificate that makes an identity")
	// ErrTooLarge means that a token is longer than any good one. It was not read.
	ErrTooLarge = errors.New("identity: token is too long")
	// ErrMalformed means that a token is neither the shared one nor a JWT.
	ErrMalformed = errors.New("identity: token cannot be read")
	// ErrAlgorithm means that a token is signed by an algorithm that no key here is for, "none" among them.
	ErrAlgorithm = errors.New("identity: token's algorithm is not accepted")
	// ErrKey means that no key is known by the id that a token names.
	ErrKey = errors.New("identity: token's key is not known")
	// ErrSignature means that a token was not signed by the key, or was changed.
	ErrSignature = errors.New("identity: token's signature is wrong")
	// ErrExpired means that a token, or a certificate, was good.
	ErrExpired = errors.New("identity: credentials have expired")
	// ErrNotYet means that a token is not good yet, or was made in the future.
	ErrNotYet = errors.New("identity: token is not valid yet")
	// ErrIssuer means that a token is of another issuer.
	ErrIssuer = errors.New("identity: token is of another issuer")
	// ErrAudience means that a token is for somebody else.
	ErrAudience = errors.New("identity: token is for another audience")
	// ErrClaims means that a token says something of the caller that it must not say so, or says not all of it.
	ErrClaims = errors.New("identity: token's claims cannot be used")
	// ErrUnavailable means that there are no keys yet to check tokens by: it is no fault of the caller's.
	ErrUnavailable = errors.New("identity: no keys to check tokens by")
)

// faults are the errors with the names that counters have. Nobody else may choose names.
var faults = []struct {
	err  error
	name string
}{
	{ErrNone, "none"}, {ErrCertificate, "certificate"}, {ErrTooLarge, "too_large"}, {ErrAlgorithm, "algorithm"}, {ErrKey, "key"}, {ErrSignature, "signature"},
	{ErrExpired, "expired"}, {ErrNotYet, "not_yet"}, {ErrIssuer, "issuer"}, {ErrAudience, "audience"}, {ErrClaims, "claims"}, {ErrUnavailable, "unavailable"},
	{ErrMalformed, "malformed"},
}

// Faults returns the names of all reasons that there are to refuse credentials.
func Faults() []string {
	names := make([]string, len(faults))
	for i, f := range faults {
		names[i] = f.name
	}
	return names
}

// Fault returns the name of the reason that an error of Authenticate is; "malformed" where it is none.
func Fault(err error) string { return faults[faultIndex(err)].name }

// faultIndex returns where a reason is in faults.
func faultIndex(err error) int {
	for i, f := range faults {
		if errors.Is(err, f.err) {
			return i
		}
	}
	return len(faults) - 1
}
