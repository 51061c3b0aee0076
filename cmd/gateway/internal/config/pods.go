package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// minPodSecret is the shortest secret of pods that is not refused as guessable.
const minPodSecret = 32

// PodSecrets returns the secrets that pods share, the one to use first.
func (c *Config) PodSecrets() [][]byte {
	var all [][]byte
	for _, s := range strings.Fields(string(c.PodSecret)) {
		all = append(all, []byte(s))
	}
	return all
}

// ReadPodSecrets reads PodSecretFile again. Errors: *Error.
func (c *Config) ReadPodSecrets() ([][]byte, error) {
	again := *c
	again.PodSecret = ""
	if err := readSecret("pod-secret", "secret", again.PodSecretFile, &again.PodSecret); err != nil {
		return nil, err
	}
	if err := errors.Join(again.validateSecrets(), again.validatePodSecret()); err != nil {
		return nil, err
	}
	return again.PodSecrets(), nil
}

// PodTLS returns how other pods are called, and the authorities of the certificates that they show; nil where they serve without TLS.
func (c *Config) PodTLS() (*tls.Config, error) {
	if c.TLSCert == "" {
		return nil, nil //nolint:nilnil // documented
	}
	t := &tls.Config{MinVersion: c.MinTLS(), ServerName: c.PodServerName}
	if c.PodCA != "" {
		b, err := os.ReadFile(c.PodCA)
		if err != nil {
			return nil, &Error{"pod-ca", "cannot be read: " + err.Error(), "name a PEM file that this user may read"}
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(b) {
			return nil, &Error{"pod-ca", "holds no certificate", "name a PEM file with certificates of authorities"}
		}
	}
	pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, &Error{"tls-cert", "does not load with --tls-key: " + err.Error(), "name a PEM certificate chain and the unencrypted PEM key that belongs to it"}
	}
	t.Certificates = []tls.Certificate{pair}
	return t, nil
}

func (c *Config) validatePods() error {
	for _, s := range []struct {
		setting string
		set     bool
	}{
		{"pod-secret", c.PodSecret != ""}, {"pod-addr", c.PodAddr != ""}, {"pod-ca", c.PodCA != ""},
		{"pod-server-name", c.PodServerName != ""}, {"pod-mtls", c.PodMTLS},
	} {
		switch {
		case s.set && c.RedisURL == "":
			return &Error{s.setting, "is set without --redis-url", "set --redis-url too, or leave this out: a gateway without Redis is alone"}
		case s.set && c.TLSCert == "" && s.setting != "pod-secret" && s.setting != "pod-addr":
			return &Error{s.setting, "is set without --tls-cert", "set --tls-cert and --tls-key too, or leave this out"}
		}
	}
	if c.RedisURL == "" {
		return nil
	}
	if err := c.validatePodSecret(); err != nil {
		return err
	}
	if err := c.validatePodAddr(); err != nil {
		return err
	}
	if c.PodMTLS && c.PodCA == "" {
		return &Error{"pod-ca", "is missing while --pod-mtls is set", "name the PEM file with the authorities of pods' certificates"}
	}
	_, err := c.PodTLS()
	return err
}

func (c *Config) validatePodSecret() error {
	secrets := c.PodSecrets()
	if len(secrets) == 0 {
		return &Error{"pod-secret-file", "is missing while --redis-url is set", "give all pods on one Redis the same secret, for example from `openssl rand -hex 32`"}
	}
	for _, s := range secrets {
		if len(s) < minPodSecret {
			return &Error{"pod-secret", fmt.Sprintf("has only %d characters", len(s)), fmt.Sprintf("use at least %d random ones, for example from `openssl rand -hex 32`", minPodSecret)}
		}
	}
	return nil
}

func (c *Config) validatePodAddr() error {
	if c.PodAddr == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(c.PodAddr)
	ip, notIP := netip.ParseAddr(host)
	if err != nil || host == "" || notIP != nil && strings.IndexFunc(host, notInHostName) >= 0 {
		return &Error{"pod-addr", fmt.Sprintf("%q is not host:port", c.PodAddr), "write it like 10.1.2.3:50051, an IPv6 address in brackets"}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return &Error{"pod-addr", fmt.Sprintf("%q is not a port that can be called", port), "use a number from 1 to 65535"}
	}
	if notIP == nil && (ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255})) {
		return &Error{"pod-addr", fmt.Sprintf("%q is not the address of one machine", host), "use the address by which other pods reach this one"}
	}
	return nil
}

// notInHostName tells what no name of a machine has in it.
func notInHostName(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_'
}
