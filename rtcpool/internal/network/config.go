package network

import (
	"crypto/x509"
	"log/slog"
	"net"
	"net/netip"
	"path"
	"time"
)

// Config is what a Network needs. rtcpool says what each setting is for, fills in defaults and checks them.
type Config struct {
	Logger                 *slog.Logger
	Loopback               bool // local and remote candidates on loopback
	ConsentTimeout         time.Duration
	UDPPortMin, UDPPortMax uint16 // of sockets that are not shared; 0 is any
	AnnouncedIPs           []string

	UDPMuxPort        uint16 // the first; 0 is none
	UDPMuxPorts       int
	TCPMuxPort        uint16 // 0 is none
	MaxTCPConnections int

	Interfaces                  []string // names or patterns; empty is all
	AllowNetworks, DenyNetworks []netip.Prefix
	DisableIPv6                 bool

	MuxReceiveBuffer, SocketReceiveBuffer int // bytes

	RefusePrivate bool
	MDNS          bool
	RootCAs       *x509.CertPool // of TURN servers; nil is the system's
	Resolver      *net.Resolver  // nil is the system's
}

// takesInterface tells whether the addresses of an interface may be candidates.
func (c *Config) takesInterface(name string) bool {
	for _, pattern := range c.Interfaces {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
	}
	return len(c.Interfaces) == 0
}

// takesAddress tells whether a local address may be a candidate.
func (c *Config) takesAddress(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if c.DisableIPv6 && ip.Is6() {
		return false
	}
	for _, p := range c.DenyNetworks {
		if p.Contains(ip) {
			return false
		}
	}
	for _, p := range c.AllowNetworks {
		if p.Contains(ip) {
			return true
		}
	}
	return len(c.AllowNetworks) == 0
}

// filters tells whether any filter of local addresses is set.
func (c *Config) filters() bool {
	return len(c.Interfaces)+len(c.AllowNetworks)+len(c.DenyNetworks) > 0
}
