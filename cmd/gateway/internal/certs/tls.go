package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc/credentials"
)

// certificatesOf returns the certificates of a PEM file. What is not whole is an error: the file may be half written, and authorities that are left out are believed no longer.
func certificatesOf(b []byte) (all []*x509.Certificate, err error) {
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			if bytes.Contains(b, []byte("-----BEGIN")) {
				return nil, errHalf
			}
			return all, nil
		}
		if bytes.Count(b[:len(b)-len(rest)], []byte("-----BEGIN")) > 1 { // Decode has skipped what it could not read.
			return nil, errHalf
		}
		b = rest
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certs: %w", err)
		}
		all = append(all, c)
	}
}

// errHalf means that a PEM file ends, or is broken, in the middle of a block.
var errHalf = errors.New("a PEM block that is not whole")

// Server returns the configuration of a listener of at least a version of TLS. Each handshake takes what is in use then. pods has other pods show their
// certificates too. A client may show one that some authority has signed; one of a stranger ends the handshake.
// protocols are what it speaks (RFC 7301).
func (c *Certs) Server(least uint16, pods bool, protocols ...string) *tls.Config {
	base := &tls.Config{MinVersion: least, NextProtos: protocols, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &c.now.Load().pair, nil }}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		m := c.now.Load()
		t := base.Clone()
		t.GetConfigForClient = nil
		pool := x509.NewCertPool()
		for _, a := range m.believed(pods) {
			for _, one := range a.all {
				pool.AddCert(one)
			}
			t.ClientCAs, t.ClientAuth = pool, tls.VerifyClientCertIfGiven
		}
		return t, nil
	}
	// A session that is resumed shows no certificate again: it must not outlive a change of the authorities.
	base.SessionTicketsDisabled = true
	return base
}

// believed returns the authorities of clients.
func (m *material) believed(pods bool) (all []*authorities) {
	if m.client != nil {
		all = append(all, m.client)
	}
	if pods && m.pods != nil {
		all = append(all, m.pods)
	}
	return all
}

// Client returns the certificate by which a caller may be known; nil if it has shown none that the authorities of callers, as they are now, have signed.
func (c *Certs) Client(s *tls.ConnectionState) *x509.Certificate {
	if m := c.now.Load(); len(s.PeerCertificates) == 0 || !m.client.signed(s.VerifiedChains) {
		return nil
	}
	return s.PeerCertificates[0]
}

// Pod tells whether a client has shown a certificate that the authorities of pods have signed.
func (c *Certs) Pod(s *tls.ConnectionState) bool { return c.now.Load().pods.signed(s.VerifiedChains) }

// Pods returns the credentials of calls to other pods: each connection shows the pair, and believes the authorities, that are in use then. The name is that in
// the pods' certificates, where it is not that of their address.
func (c *Certs) Pods(least uint16, name string) credentials.TransportCredentials {
	return &podCredentials{certs: c, least: least, name: name}
}

// podCredentials are credentials.NewTLS of what is in use when a connection is made.
type podCredentials struct {
	certs *Certs
	least uint16
	name  string
}

// now returns the credentials as they are now.
func (p *podCredentials) now() credentials.TransportCredentials {
	m := p.certs.now.Load()
	t := &tls.Config{MinVersion: p.least, ServerName: p.name, Certificates: []tls.Certificate{m.pair}}
	if m.pods != nil {
		t.RootCAs = m.pods.pool
	}
	return credentials.NewTLS(t)
}

// ClientHandshake implements credentials.TransportCredentials.
func (p *podCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return p.now().ClientHandshake(ctx, authority, raw)
}

// ServerHandshake implements credentials.TransportCredentials. Nobody serves by them.
func (p *podCredentials) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errOnlyCalls
}

// Info implements credentials.TransportCredentials.
func (p *podCredentials) Info() credentials.ProtocolInfo { return p.now().Info() }

// Clone implements credentials.TransportCredentials.
func (p *podCredentials) Clone() credentials.TransportCredentials {
	q := *p
	return &q
}

// OverrideServerName implements credentials.TransportCredentials.
func (p *podCredentials) OverrideServerName(name string) error {
	p.name = name
	return nil
}

// errOnlyCalls means that a listener was to serve by the credentials of calls.
var errOnlyCalls = errors.New("certs: these credentials are for calls to pods only")

// Counted returns credentials that count handshakes that fail.
func (c *Certs) Counted(creds credentials.TransportCredentials) credentials.TransportCredentials {
	return counted{creds, c}
}

// counted counts handshakes that fail.
type counted struct {
	credentials.TransportCredentials
	certs *Certs
}

// ServerHandshake implements credentials.TransportCredentials.
func (c counted) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil && !errors.Is(err, credentials.ErrConnDispatched) {
		c.certs.refused.Add(1)
		c.certs.cfg.Logger.DebugContext(context.Background(), "TLS handshake failed", "peer", raw.RemoteAddr().String(), "error", err)
	}
	return conn, info, err
}

// Clone implements credentials.TransportCredentials.
func (c counted) Clone() credentials.TransportCredentials {
	return counted{c.TransportCredentials.Clone(), c.certs}
}
