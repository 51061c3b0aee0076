package metrics

import (
	"strings"

	"github.com/penstock-media/penstock/service/internal/identity"
)

// securityMetrics are of callers' credentials, and of certificates.
func securityMetrics() []Metric {
	return []Metric{
		{Name: "penstock_credentials_refused_total", Kind: Count, Labels: []Label{label("fault", strings.Join(identity.Faults(), " "))},
			Help: "Calls and publishers' requests whose credentials were refused.", Do: "Many `key`, `issuer` or `audience`: `--jwt-…` and the issuer do not agree. Many `signature` or `malformed`: somebody guesses."},
		{Name: "penstock_credentials_unchecked_total", Kind: Count, Labels: []Label{label("because", "known line")},
			Help: "Calls and publishers' requests from addresses over `--failed-auth-rate` that were refused without a check: their credentials were found to be bad a short while before (`known`), or too many unknown ones wait (`line`).",
			Do:   "Somebody guesses, or a client tries a bad token again and again: the log names an address once a minute."},
		{Name: "penstock_calls_forbidden_total", Kind: Count, Help: "Calls whose credentials were good, and did not allow them."},
		{Name: "penstock_credentials_expired_total", Kind: Count, Help: "Streams and calls that ended since their caller's credentials expired meanwhile.", Do: "Callers are to renew at `credentials_expiring`."},
		{Name: "penstock_token_keys", Kind: Gauge, Help: "Public keys of `--jwt-jwks` that tokens are checked by; without that setting 0.", Do: "0 with that setting: they were never fetched, and callers with such tokens get `AUTH_UNAVAILABLE`. The log tells why, once a minute and at changes."},
		{Name: "penstock_token_key_failures_total", Kind: Count, Help: "Times that the keys of `--jwt-jwks` could not be fetched.", Do: "The last good ones stay in use; the log tells why."},
		{Name: "penstock_certificate_expiry_seconds", Kind: Gauge, Unit: "s", Help: "When the certificate of the listeners expires, in seconds since 1970. Without TLS it is +Inf.", Do: "Renew it; it is read again by itself."},
		{Name: "penstock_certificate_reloads_total", Kind: Count, Labels: []Label{label("result", "ok failed")}, Help: "Changes of certificate files: taken, and such that cannot be used.", Do: "`failed`: the log tells why; what was before stays."},
		{Name: "penstock_secret_reloads_total", Kind: Count, Labels: []Label{label("result", "ok failed")}, Help: "Changes of the files of `--auth-token-file`, `--jwt-secret-file` and `--pod-secret-file`: taken, and such that cannot be used.", Do: "`failed`: the log tells why; what was before stays until the process ends, and the next one does not start with such a file."},
		{Name: "penstock_tls_refused_total", Kind: Count, Help: "TLS handshakes of the gRPC listener that failed.", Do: "Certificates of another authority, versions below `--tls-min-version`, or probes of strangers."},
	}
}
