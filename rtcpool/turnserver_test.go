package rtcpool

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
)

const turnSecret = "shared between TURN and those who hand out credentials"

// turnServer is a TURN server on loopback, over UDP, TCP and TLS, with credentials of limited time.
type turnServer struct {
	server        *turn.Server
	udp, tcp, tls string // its URLs
	socket        *muted
	authorities   *x509.CertPool
	revoked       atomic.Bool  // credentials of user "old" have expired
	refused       atomic.Int64 // how many requests were refused
	allocations   atomic.Int64 // made, in all
}

func newTURNServer(t *testing.T, lifetime time.Duration) *turnServer {
	t.Helper()
	s := &turnServer{}
	var certificate tls.Certificate
	certificate, s.authorities = selfSigned(t)
	u, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.socket = &muted{PacketConn: u}
	plain, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	quiet := &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
	relay := func() turn.RelayAddressGenerator {
		return &turn.RelayAddressGeneratorStatic{RelayAddress: net.IPv4(127, 0, 0, 1), Address: "127.0.0.1"}
	}
	inTime := turn.LongTermTURNRESTAuthHandler(turnSecret, quiet.NewLogger("turn"))
	s.server, err = turn.NewServer(turn.ServerConfig{
		Realm: "test", AllocationLifetime: lifetime, LoggerFactory: quiet,
		AuthHandler: func(a *turn.RequestAttributes) (string, []byte, bool) {
			user, key, ok := inTime(a)
			if ok = ok && (user != "old" || !s.revoked.Load()); !ok {
				s.refused.Add(1)
			}
			return user, key, ok
		},
		EventHandler:      turn.EventHandler{OnAllocationCreated: func(_, _ net.Addr, _, _, _ string, _ net.Addr, _ int) { s.allocations.Add(1) }},
		PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: s.socket, RelayAddressGenerator: relay()}},
		ListenerConfigs: []turn.ListenerConfig{
			{Listener: plain, RelayAddressGenerator: relay()}, {Listener: secure, RelayAddressGenerator: relay()},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.server.Close(); err != nil {
			t.Error(err)
		}
	})
	s.udp = fmt.Sprintf("turn:%s?transport=udp", u.LocalAddr())
	s.tcp = fmt.Sprintf("turn:%s?transport=tcp", plain.Addr())
	s.tls = fmt.Sprintf("turns:%s?transport=tcp", secure.Addr())
	return s
}

// credentials are good for a time from now on.
func (s *turnServer) credentials(t *testing.T, url, user string, good time.Duration) ICEServer {
	t.Helper()
	name, password, err := turn.GenerateLongTermTURNRESTCredentials(turnSecret, user, good)
	if err != nil {
		t.Fatal(err)
	}
	return ICEServer{URLs: []string{url}, Username: name, Credential: password}
}

// selfSigned makes a certificate for 127.0.0.1 that is its own authority.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "TURN"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
