package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// minTokenLength is the shortest bearer token that is not refused as guessable.
const minTokenLength = 16

// Complete reads what the configuration only points at: the token's file. It must run before Check.
func (c *Config) Complete() error {
	// An empty variable or list in the file is no entry, rather than an empty one.
	if c.AnnouncedIPs = slices.DeleteFunc(c.AnnouncedIPs, isEmpty); len(c.AnnouncedIPs) == 0 {
		c.AnnouncedIPs = nil
	}
	for _, list := range []*[]string{&c.Interfaces, &c.AllowNetworks, &c.DenyNetworks} {
		if *list = slices.DeleteFunc(*list, isEmpty); len(*list) == 0 {
			*list = nil
		}
	}
	if c.WHIPOrigins = slices.DeleteFunc(c.WHIPOrigins, isEmpty); len(c.WHIPOrigins) == 0 || slices.Contains(c.WHIPOrigins, "*") {
		c.WHIPOrigins = nil
	}
	if err := readSecret("auth-token", "token", c.AuthTokenFile, &c.AuthToken); err != nil {
		return err
	}
	for _, list := range []*[]string{&c.JWTAudience, &c.TLSClientActions} {
		if *list = slices.DeleteFunc(*list, isEmpty); len(*list) == 0 {
			*list = nil
		}
	}
	if err := readSecret("jwt-secret", "secret", c.JWTSecretFile, &c.JWTSecret); err != nil {
		return err
	}
	if err := readSecret("pod-secret", "secret", c.PodSecretFile, &c.PodSecret); err != nil {
		return err
	}
	return readSecret("redis-password", "password", c.RedisPasswordFile, &c.RedisPassword)
}

// readSecret reads a secret from the file that the setting of its name with "-file" names, if it does.
func readSecret(setting, what, file string, to *Secret) error {
	if file == "" {
		return nil
	}
	if *to != "" {
		return &Error{setting + "-file", "--" + setting + " is set too", "set only one of them"}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return &Error{setting + "-file", "cannot be read: " + err.Error(), "name a file that holds the " + what + " and that this user may read"}
	}
	if *to = Secret(strings.TrimSpace(string(b))); *to == "" {
		return &Error{setting + "-file", fmt.Sprintf("%q is empty", file), "write the " + what + " into it"}
	}
	return nil
}

// Check validates: it returns the first fault as an *Error, or nil. (A method Validate would be called by the parser of
// the command line, before Complete.)
func (c *Config) Check() error {
	checks := []func() error{
		c.validateAddresses, c.validateSecrets, c.validateTLS, c.validateClients, c.validateJWT, c.validateExposure, c.validateStore,
		c.validateOrigins, c.validateICE, c.validateShared, c.validateFilters, c.validateAuthorities,
		c.validateRanges, c.validateTimes, c.validatePods, c.validateObserving,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// listener is an address that the service listens on.
type listener struct{ setting, addr string }

func (c *Config) listeners() []listener {
	return []listener{{"grpc-addr", c.GRPCAddr}, {"http-addr", c.HTTPAddr}}
}

func (c *Config) validateAddresses() error {
	all := c.listeners()
	if c.HealthAddr != "" {
		all = append(all, listener{"health-addr", c.HealthAddr})
	}
	if c.MetricsAddr != "" {
		all = append(all, listener{"metrics-addr", c.MetricsAddr})
	}
	if c.DebugAddr != "" {
		all = append(all, listener{"debug-addr", c.DebugAddr})
	}
	for _, l := range all {
		_, port, err := net.SplitHostPort(l.addr)
		if err != nil {
			return &Error{l.setting, fmt.Sprintf("%q is not host:port", l.addr), "write it like 127.0.0.1:50051, an IPv6 address in brackets"}
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return &Error{l.setting, fmt.Sprintf("%q is not a port", port), "use a number from 0 to 65535; 0 takes any free port"}
		}
	}
	for i, l := range all {
		_, port, _ := net.SplitHostPort(l.addr)
		if at := slices.IndexFunc(all, func(o listener) bool { return o.addr == l.addr }); at < i && port != "0" {
			return &Error{l.setting, fmt.Sprintf("%q is taken by --%s", l.addr, all[at].setting), "give them different ports"}
		}
	}
	return nil
}

func (c *Config) validateSecrets() error {
	for _, s := range []struct {
		setting string
		value   Secret
	}{
		{"auth-token", c.AuthToken}, {"redis-url", c.RedisURL}, {"redis-password", c.RedisPassword},
		{"redis-sentinel-password", c.RedisSentinelPassword}, {"pod-secret", c.PodSecret}, {"jwt-secret", c.JWTSecret},
	} {
		if s.value == hidden {
			return &Error{s.setting, "is the text that stands for a secret in `gateway config`", "write the secret itself"}
		}
	}
	if n := len(c.AuthToken); n > 0 && n < minTokenLength {
		return &Error{"auth-token", fmt.Sprintf("has only %d characters", n), fmt.Sprintf("use at least %d random ones, for example from `openssl rand -hex 32`", minTokenLength)}
	}
	if strings.ContainsFunc(string(c.AuthToken), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return &Error{"auth-token", "has blanks or characters that an HTTP header cannot carry", "use letters, digits and punctuation of ASCII"}
	}
	return nil
}

func (c *Config) validateTLS() error {
	switch {
	case c.TLSCert == "" && c.TLSKey == "":
		return nil
	case c.TLSKey == "":
		return &Error{"tls-key", "is missing while --tls-cert is set", "name the PEM file of its private key"}
	case c.TLSCert == "":
		return &Error{"tls-cert", "is missing while --tls-key is set", "name the PEM file of its certificate chain"}
	}
	if _, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey); err != nil {
		return &Error{"tls-cert", "does not load with --tls-key: " + err.Error(), "name a PEM certificate chain and the unencrypted PEM key that belongs to it"}
	}
	return nil
}

func (c *Config) validateExposure() error {
	if c.DebugAddr != "" && !c.Insecure && !isLoopback(c.DebugAddr) {
		return &Error{"debug-addr", fmt.Sprintf("%q can be reached from other machines, and has neither TLS nor a token", c.DebugAddr), "listen on 127.0.0.1, or say --insecure where the network is closed by other means"}
	}
	if c.Insecure || (c.TLSCert != "" && c.AsksCallers()) {
		return nil
	}
	for _, l := range c.listeners() {
		if !isLoopback(l.addr) {
			return &Error{l.setting, fmt.Sprintf("%q can be reached from other machines, without TLS and a token", l.addr), "set --tls-cert, --tls-key and --auth-token-file (or --jwt-secret-file, --jwt-jwks, --tls-client-ca), or listen on 127.0.0.1, or say --insecure where the network is closed by other means"}
		}
	}
	return nil
}

func (c *Config) validateOrigins() error {
	for _, origin := range c.WHIPOrigins {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.Scheme+"://"+u.Host != origin || !browsersSay(u) {
			return &Error{"whip-origins", fmt.Sprintf("%q is not an origin", origin), "write scheme, host and port only, in small letters and without the usual port, like https://example.org, or *"}
		}
	}
	return nil
}

// browsersSay tells whether an origin is written as browsers write it (RFC 6454 section 6.1): another spelling never matches.
func browsersSay(u *url.URL) bool {
	usual := map[string]string{"http": "80", "https": "443"}
	return u.Host == strings.ToLower(u.Host) && u.Port() != usual[u.Scheme]
}

// validateRanges checks the numbers and durations whose tags name a range.
func (c *Config) validateRanges() error {
	v := reflect.ValueOf(c).Elem()
	for _, s := range Settings() {
		if s.Range == "" {
			continue
		}
		if err := within(s, v.FieldByIndex(s.index)); err != nil {
			return err
		}
	}
	return nil
}

// within checks a value against the range of its setting, "least..most".
func within(s Setting, v reflect.Value) error {
	parse := func(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }
	write := func(n int64) string { return strconv.FormatInt(n, 10) }
	if v.Type() == reflect.TypeFor[time.Duration]() {
		parse = func(text string) (int64, error) { d, err := time.ParseDuration(text); return int64(d), err }
		write = func(n int64) string { return time.Duration(n).String() }
	}
	low, high, _ := strings.Cut(s.Range, "..")
	least, errLeast := parse(low)
	most, errMost := parse(high)
	if err := errors.Join(errLeast, errMost); err != nil {
		return fmt.Errorf("config: the range of %s: %w", s.Name, err)
	}
	if n := v.Int(); n < least || n > most {
		return &Error{s.Name, write(n) + " is out of range", fmt.Sprintf("use %s to %s", write(least), write(most))}
	}
	return nil
}

// validateTimes checks what depends on another setting.
func (c *Config) validateTimes() error {
	if least := 2 * c.Heartbeat; c.LeaseTTL < least { // so that one heartbeat may be late
		return &Error{"lease-ttl", fmt.Sprintf("%v is out of range", c.LeaseTTL), fmt.Sprintf("use %v to %v", least, time.Minute)}
	}
	for _, l := range []struct {
		setting     string
		rate, burst int
	}{{"caller", c.CallerRate, c.CallerBurst}, {"signal", c.SignalRate, c.SignalBurst}, {"whip", c.WHIPRate, c.WHIPBurst}, {"failed-auth", c.FailedAuthRate, c.FailedAuthBurst}} {
		if l.burst < l.rate {
			return &Error{l.setting + "-burst", fmt.Sprintf("%d is below --%s-rate %d", l.burst, l.setting, l.rate), "use at least as many"}
		}
	}
	return nil
}

func (c *Config) validateObserving() error {
	if err := oneOf("log-level", c.LogLevel, "debug", "info", "warn", "error"); err != nil {
		return err
	}
	if err := oneOf("log-format", c.LogFormat, "text", "json"); err != nil {
		return err
	}
	if !(c.TraceSample >= 0 && c.TraceSample <= 1) { // NaN too
		return &Error{"trace-sample", fmt.Sprintf("%v is no share", c.TraceSample), "use 0 to 1; 0.01 keeps one trace in a hundred"}
	}
	if c.OTLPEndpoint == "" {
		return nil
	}
	if u, err := url.Parse(c.OTLPEndpoint); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return &Error{"otlp-endpoint", fmt.Sprintf("%q is not an http or https URL", c.OTLPEndpoint), "write it like http://127.0.0.1:4317"}
	}
	return nil
}

// isLoopback tells whether only this machine can reach a host:port.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// oneOf checks a setting that has a few words to choose from.
func oneOf(name, value string, words ...string) error {
	if slices.Contains(words, value) {
		return nil
	}
	return &Error{name, fmt.Sprintf("%q is not one of %s", value, strings.Join(words, ", ")), "use one of these"}
}

func isEmpty(s string) bool { return s == "" }
