package rtcpool

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"path"

	"github.com/penstock-media/penstock/rtcpool/internal/network"
)

// The defaults and bounds of NetworkConfig.
const (
	defaultMuxReceiveBuffer  = 4 << 20
	defaultPeerReceiveBuffer = 1 << 20
	defaultTCPConnections    = 1024
	maxReceiveBuffer         = 1 << 30
	maxMuxPorts              = 64
)

// NetworkConfig says which sockets the pool uses and which remote addresses it talks to. The zero value opens nothing
// ahead: each session has ephemeral sockets of its own on every address of this machine, and reaches out by itself.
type NetworkConfig struct {
	// UDPMuxPort is the one UDP port of all sessions (RFC 8445 section 5.1.1: host candidates may share a base); 0 gives
	// each session sockets of its own. It is opened by New on every local address that the filters let pass.
	UDPMuxPort uint16
	// UDPMuxPorts is how many consecutive ports, from UDPMuxPort on, are shared in the same way: each has one read loop,
	// and sessions are spread over them. A session whose SFU answers from an address and port that another session of the
	// same shared port talks to takes another one, or sockets of its own: packets of the two could not be told apart.
	// Default 1, at most 64.
	UDPMuxPorts int
	// TCPMuxPort is the TCP port of all sessions for ICE-TCP (RFC 6544, passive candidates only); 0 is none.
	TCPMuxPort uint16
	// MaxTCPConnections bounds the connections at TCPMuxPort; more are closed at once and counted. Default 1024.
	MaxTCPConnections int
	// Interfaces are the network interfaces whose addresses may be local candidates, by name or pattern (path.Match), such
	// as eth*. Empty is all.
	Interfaces []string
	// AllowNetworks are the only local addresses that may be candidates; empty is all. DenyNetworks wins over it.
	AllowNetworks, DenyNetworks []netip.Prefix
	// DisableIPv6 gathers no IPv6 candidates and opens no IPv6 socket.
	DisableIPv6 bool
	// MuxReceiveBuffer is the receive buffer (SO_RCVBUF, bytes) that is asked for at each shared UDP socket; the kernel may
	// grant less (net.core.rmem_max), which is logged. Default 4 MiB.
	MuxReceiveBuffer int
	// SocketReceiveBuffer is the same for the sockets of single sessions. Default 1 MiB.
	SocketReceiveBuffer int
	// RefusePrivate refuses remote candidates in networks that are not public: for gateways whose offerers are not trusted.
	// Metadata services, this process's own ports and, without Config.Loopback, loopback are always refused.
	RefusePrivate bool
	// MDNS resolves remote candidates with names under .local (RFC 6762), at most 8 of a session and 2 s each. Without it
	// they are ignored and counted.
	MDNS bool
	// RootCAs verifies TURN servers over TLS; nil is the system's.
	RootCAs *x509.CertPool
	// Resolver looks up the names of STUN and TURN servers, by its Dial; nil is the servers of the system.
	Resolver *net.Resolver
}

// complete fills in defaults. Errors: ErrConfig, naming the field and the mend.
func (c *NetworkConfig) complete() error {
	c.UDPMuxPorts = orDefault(c.UDPMuxPorts, 1)
	c.MaxTCPConnections = orDefault(c.MaxTCPConnections, defaultTCPConnections)
	c.MuxReceiveBuffer = orDefault(c.MuxReceiveBuffer, defaultMuxReceiveBuffer)
	c.SocketReceiveBuffer = orDefault(c.SocketReceiveBuffer, defaultPeerReceiveBuffer)
	switch {
	case c.UDPMuxPorts < 0 || c.UDPMuxPorts > maxMuxPorts:
		return fmt.Errorf("%w: Network.UDPMuxPorts is %d; use 1 to %d", ErrConfig, c.UDPMuxPorts, maxMuxPorts)
	case c.UDPMuxPort == 0 && c.UDPMuxPorts > 1:
		return fmt.Errorf("%w: Network.UDPMuxPorts is %d while UDPMuxPort is 0; set the first port", ErrConfig, c.UDPMuxPorts)
	case int(c.UDPMuxPort)+c.UDPMuxPorts-1 > 65535:
		return fmt.Errorf("%w: Network.UDPMuxPorts: %d ports from %d on are more than there are; choose a lower UDPMuxPort", ErrConfig, c.UDPMuxPorts, c.UDPMuxPort)
	case c.MaxTCPConnections < 0:
		return fmt.Errorf("%w: Network.MaxTCPConnections is negative; use 0 for the default", ErrConfig)
	case c.MuxReceiveBuffer < 0 || c.MuxReceiveBuffer > maxReceiveBuffer:
		return fmt.Errorf("%w: Network.MuxReceiveBuffer is %d; use bytes up to 1 GiB, or 0 for the default", ErrConfig, c.MuxReceiveBuffer)
	case c.SocketReceiveBuffer < 0 || c.SocketReceiveBuffer > maxReceiveBuffer:
		return fmt.Errorf("%w: Network.SocketReceiveBuffer is %d; use bytes up to 1 GiB, or 0 for the default", ErrConfig, c.SocketReceiveBuffer)
	}
	return c.checkFilters()
}

func (c *NetworkConfig) checkFilters() error {
	for _, pattern := range c.Interfaces {
		if _, err := path.Match(pattern, "eth0"); err != nil || pattern == "" {
			return fmt.Errorf("%w: Network.Interfaces: %q is not a name or pattern; write one like eth0 or eth*", ErrConfig, pattern)
		}
	}
	for _, p := range c.AllowNetworks {
		if !p.IsValid() {
			return fmt.Errorf("%w: Network.AllowNetworks has an invalid prefix; write ones like 10.0.0.0/8", ErrConfig)
		}
	}
	for _, p := range c.DenyNetworks {
		if !p.IsValid() {
			return fmt.Errorf("%w: Network.DenyNetworks has an invalid prefix; write ones like 10.0.0.0/8", ErrConfig)
		}
	}
	return nil
}

// network is what the sockets need of a completed Config.
func (c *Config) network() network.Config {
	n := &c.Network
	return network.Config{
		Logger: c.Logger, Loopback: c.Loopback, ConsentTimeout: c.ConsentTimeout,
		UDPPortMin: c.UDPPortMin, UDPPortMax: c.UDPPortMax, AnnouncedIPs: c.AnnouncedIPs,
		UDPMuxPort: n.UDPMuxPort, UDPMuxPorts: n.UDPMuxPorts, TCPMuxPort: n.TCPMuxPort, MaxTCPConnections: n.MaxTCPConnections,
		Interfaces: n.Interfaces, AllowNetworks: n.AllowNetworks, DenyNetworks: n.DenyNetworks, DisableIPv6: n.DisableIPv6,
		MuxReceiveBuffer: n.MuxReceiveBuffer, SocketReceiveBuffer: n.SocketReceiveBuffer,
		RefusePrivate: n.RefusePrivate, MDNS: n.MDNS, RootCAs: n.RootCAs, Resolver: n.Resolver,
	}
}
