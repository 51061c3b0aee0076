package config

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"

	"github.com/penstock-media/penstock/resolverstore"
)

// Redis returns how the store is reached. It is of use only where RedisURL is set.
func (c *Config) Redis() (resolverstore.RedisOptions, error) {
	o := resolverstore.RedisOptions{
		URL: string(c.RedisURL), Username: c.RedisUsername, Password: string(c.RedisPassword),
		SentinelUsername: c.RedisSentinelUsername, SentinelPassword: string(c.RedisSentinelPassword), Timeout: c.RedisTimeout,
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.RedisTLSServerName}
	if c.RedisTLSCA != "" {
		b, err := os.ReadFile(c.RedisTLSCA)
		if err != nil {
			return o, &Error{"redis-tls-ca", "cannot be read: " + err.Error(), "name a PEM file that this user may read"}
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(b) {
			return o, &Error{"redis-tls-ca", "holds no certificate", "name a PEM file with certificates of authorities"}
		}
	}
	if c.RedisTLSCert != "" {
		pair, err := tls.LoadX509KeyPair(c.RedisTLSCert, c.RedisTLSKey)
		if err != nil {
			return o, &Error{"redis-tls-cert", "does not load with --redis-tls-key: " + err.Error(), "name a PEM certificate chain and the unencrypted PEM key that belongs to it"}
		}
		t.Certificates = []tls.Certificate{pair}
	}
	o.TLS = t
	return o, nil
}

func (c *Config) validateStore() error {
	secure := strings.HasPrefix(string(c.RedisURL), "rediss")
	for _, s := range []struct{ setting, value string }{
		{"redis-username", c.RedisUsername}, {"redis-password", string(c.RedisPassword)},
		{"redis-sentinel-username", c.RedisSentinelUsername}, {"redis-sentinel-password", string(c.RedisSentinelPassword)},
		{"redis-tls-ca", c.RedisTLSCA}, {"redis-tls-cert", c.RedisTLSCert}, {"redis-tls-key", c.RedisTLSKey},
		{"redis-tls-server-name", c.RedisTLSServerName},
	} {
		switch {
		case s.value == "":
		case c.RedisURL == "":
			return &Error{s.setting, "is set without --redis-url", "set --redis-url too, or leave this out"}
		case strings.HasPrefix(s.setting, "redis-tls-") && !secure:
			return &Error{s.setting, "is set, and --redis-url is without TLS", "begin --redis-url with rediss, or leave this out"}
		}
	}
	switch {
	case c.RedisURL == "":
		return nil
	case c.RedisTLSCert != "" && c.RedisTLSKey == "":
		return &Error{"redis-tls-key", "is missing while --redis-tls-cert is set", "name the PEM file of its private key"}
	case c.RedisTLSKey != "" && c.RedisTLSCert == "":
		return &Error{"redis-tls-cert", "is missing while --redis-tls-key is set", "name the PEM file of its certificate chain"}
	}
	o, err := c.Redis()
	if err != nil {
		return err
	}
	if err := o.Validate(); err != nil {
		return &Error{"redis-url", err.Error(), "write it like redis://127.0.0.1:6379, redis-cluster://host:port,host:port or redis-sentinel://host:port/master; rediss… is over TLS"}
	}
	return nil
}
