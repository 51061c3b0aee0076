package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
)

const maxClaimsOfPeer = 1024 // remote addresses that one peer connection may talk to on a shared port

// sharedPort is one UDP port of many sessions: a socket on each local address, told apart by the username of the checks
// (RFC 8445 section 7.3) and then by the remote address.
type sharedPort struct {
	mux      ice.UDPMux
	watching atomic.Int64 // users that watch sources

	mu     sync.Mutex
	claims map[netip.AddrPort]*Peer // who talks to a remote address
	users  map[*Peer]int            // and how many addresses it has claimed
}

// openSharedPort opens a UDP port on each of the addresses.
func (w *Network) openSharedPort(port uint16, addrs []netip.Addr) (*sharedPort, error) {
	p := &sharedPort{claims: make(map[netip.AddrPort]*Peer), users: make(map[*Peer]int)}
	var muxes []ice.UDPMux
	fail := func(err error) (*sharedPort, error) {
		for _, m := range muxes {
			err = errors.Join(err, m.Close())
		}
		return nil, err
	}
	for _, ip := range addrs {
		at := netip.AddrPortFrom(ip, port)
		conn, err := net.ListenUDP(udpNetwork(ip), net.UDPAddrFromAddrPort(at))
		if err != nil {
			return fail(fmt.Errorf("Network.UDPMuxPort: %w; choose a port that nothing else uses", err))
		}
		s := sharedSocket{newUDPSocket(conn, w.cfg.MuxReceiveBuffer, w.overflow, p)}
		w.log.Info("shared UDP port", "address", at.String(), "receive_buffer", receiveBufferOf(conn), "asked", w.cfg.MuxReceiveBuffer)
		muxes = append(muxes, ice.NewUDPMuxDefault(ice.UDPMuxParams{Logger: w.logs.NewLogger("udpmux"), UDPConn: s}))
		w.policy.protect(at)
	}
	if len(muxes) == 0 {
		return fail(fmt.Errorf("Network.UDPMuxPort: no local address passes Interfaces, AllowNetworks and DenyNetworks; widen them"))
	}
	p.mux = ice.NewMultiUDPMuxDefault(muxes...)
	return p, nil
}

// sharedSocket is a socket of a shared port. It has no deadlines: when a candidate is closed while another one writes, pion's mux sets
// one on the socket that all of them share, and what other sessions write at that moment would be lost.
type sharedSocket struct{ *udpSocket }

// SetDeadline implements net.PacketConn. It does nothing.
func (sharedSocket) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.PacketConn. It does nothing.
func (sharedSocket) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.PacketConn. It does nothing.
func (sharedSocket) SetWriteDeadline(time.Time) error { return nil }

func udpNetwork(ip netip.Addr) string {
	if ip.Is4() {
		return "udp4"
	}
	return "udp6"
}

// join makes a peer connection a user of the port, unless another one talks to one of its remote addresses.
func (p *sharedPort) join(n *Peer, remotes []netip.AddrPort) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range remotes {
		if user := p.claims[a]; user != nil && user != n {
			return false
		}
	}
	p.users[n] += 0
	for _, a := range remotes {
		p.claimLocked(n, a)
	}
	return true
}

// claim notes that a user talks to a remote address. It returns false when another one does.
func (p *sharedPort) claim(n *Peer, a netip.AddrPort) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.claimLocked(n, a)
}

func (p *sharedPort) claimLocked(n *Peer, a netip.AddrPort) bool {
	user := p.claims[a]
	if user == nil && p.users[n] < maxClaimsOfPeer {
		p.claims[a] = n
		p.users[n]++
		return true
	}
	return user == n
}

func (p *sharedPort) leave(n *Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.users, n)
	for a, user := range p.claims {
		if user == n {
			delete(p.claims, a)
		}
	}
}

func (p *sharedPort) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.users)
}
