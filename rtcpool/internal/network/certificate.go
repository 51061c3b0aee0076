package network

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// certificateMargin is how long before its end a certificate is replaced: longer than any session is expected to set up
// connections with it. pion's certificates are good for a month.
const certificateMargin = 7 * 24 * time.Hour

// certificates keeps the one DTLS certificate of the pool: it proves nothing but that both ends of a connection are those
// of the signalling (RFC 8827 section 5.6.4), and a key for each session costs time and memory. Safe for concurrent use.
type certificates struct {
	mu      sync.Mutex
	current *webrtc.Certificate
}

// at returns the certificate to use at a time.
func (c *certificates) at(now time.Time) (webrtc.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil && c.current.Expires().After(now.Add(certificateMargin)) {
		return *c.current, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return webrtc.Certificate{}, fmt.Errorf("making a DTLS key: %w", err)
	}
	fresh, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return webrtc.Certificate{}, fmt.Errorf("making a DTLS certificate: %w", err)
	}
	c.current = fresh
	return *fresh, nil
}
