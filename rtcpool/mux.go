package rtcpool

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

const (
	tcpFirstFrame   = 5 * time.Second // within which a TCP connection must send its first STUN request whole
	tcpUnknownUser  = 5 * time.Second // how long one with an unknown username is kept
	tcpReadPackets  = 64              // that wait to be read, of one session
	tcpWriteBuffer  = 256 << 10       // bytes that wait to be sent, of one connection: RTCP and checks only
	acceptPause     = 100 * time.Millisecond
	maxClaimsOfPeer = 1024 // remote addresses that one peer connection may talk to on a shared port
)

// sharedPort is one UDP port of many sessions: a socket on each local address, told apart by the username of the checks
// (RFC 8445 section 7.3) and then by the remote address.
type sharedPort struct {
	mux ice.UDPMux

	mu     sync.Mutex
	claims map[netip.AddrPort]*peerNet // who talks to a remote address
	users  map[*peerNet]int            // and how many addresses it has claimed
}

// openSharedPort opens a UDP port on each of the addresses.
func (w *network) openSharedPort(port uint16, addrs []netip.Addr) (*sharedPort, error) {
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
			return fail(fmt.Errorf("%w: Network.UDPMuxPort: %w; choose a port that nothing else uses", ErrConfig, err))
		}
		s := newUDPSocket(conn, w.cfg.Network.MuxReceiveBuffer, w.overflow, nil)
		w.log.Info("shared UDP port", "address", at.String(), "receive_buffer", receiveBufferOf(conn), "asked", w.cfg.Network.MuxReceiveBuffer)
		muxes = append(muxes, ice.NewUDPMuxDefault(ice.UDPMuxParams{Logger: w.logs.NewLogger("udpmux"), UDPConn: s}))
		w.policy.protect(at)
	}
	if len(muxes) == 0 {
		return fail(fmt.Errorf("%w: Network.UDPMuxPort: no local address passes Interfaces, AllowNetworks and DenyNetworks; widen them", ErrConfig))
	}
	return &sharedPort{
		mux: ice.NewMultiUDPMuxDefault(muxes...), claims: make(map[netip.AddrPort]*peerNet), users: make(map[*peerNet]int),
	}, nil
}

func udpNetwork(ip netip.Addr) string {
	if ip.Is4() {
		return "udp4"
	}
	return "udp6"
}

// join makes a peer connection a user of the port, unless another one talks to one of its remote addresses.
func (p *sharedPort) join(n *peerNet, remotes []netip.AddrPort) bool {
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
func (p *sharedPort) claim(n *peerNet, a netip.AddrPort) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.claimLocked(n, a)
}

func (p *sharedPort) claimLocked(n *peerNet, a netip.AddrPort) bool {
	user := p.claims[a]
	if user == nil && p.users[n] < maxClaimsOfPeer {
		p.claims[a] = n
		p.users[n]++
		return true
	}
	return user == n
}

func (p *sharedPort) leave(n *peerNet) {
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

// tcpMux is the TCP port of all sessions: a listener on each local address.
type tcpMux struct {
	byAddr map[netip.Addr]*ice.TCPMuxDefault
}

// openTCPMux opens the TCP port on each of the addresses.
func (w *network) openTCPMux(port uint16, addrs []netip.Addr) (*tcpMux, error) {
	m := &tcpMux{byAddr: make(map[netip.Addr]*ice.TCPMuxDefault, len(addrs))}
	for _, ip := range addrs {
		at := netip.AddrPortFrom(ip, port)
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		if err != nil {
			err = fmt.Errorf("%w: Network.TCPMuxPort: %w; choose a port that nothing else uses", ErrConfig, err)
			return nil, errors.Join(err, m.Close())
		}
		bounded := &boundedListener{TCPListener: l, most: int64(w.cfg.Network.MaxTCPConnections), open: &w.tcpOpen, refused: &w.tcpRefused, closed: make(chan struct{})}
		m.byAddr[ip] = ice.NewTCPMuxDefault(ice.TCPMuxParams{
			Listener: bounded, Logger: w.logs.NewLogger("tcpmux"), ReadBufferSize: tcpReadPackets, WriteBufferSize: tcpWriteBuffer,
			FirstStunBindTimeout: tcpFirstFrame, AliveDurationForConnFromStun: tcpUnknownUser,
		})
		w.log.Info("shared TCP port", "address", at.String())
		w.policy.protect(at)
	}
	if len(m.byAddr) == 0 {
		return nil, fmt.Errorf("%w: Network.TCPMuxPort: no local address passes Interfaces, AllowNetworks and DenyNetworks; widen them", ErrConfig)
	}
	return m, nil
}

// GetConnByUfrag implements ice.TCPMux.
func (m *tcpMux) GetConnByUfrag(ufrag string, isIPv6 bool, local net.IP) (net.PacketConn, error) {
	ip, _ := netip.AddrFromSlice(local)
	one, ok := m.byAddr[ip.Unmap()]
	if !ok {
		return nil, fmt.Errorf("no TCP port on %v: %w", local, ErrConfig)
	}
	return one.GetConnByUfrag(ufrag, isIPv6, local)
}

// RemoveConnByUfrag implements ice.TCPMux.
func (m *tcpMux) RemoveConnByUfrag(ufrag string) {
	for _, one := range m.byAddr {
		one.RemoveConnByUfrag(ufrag)
	}
}

// Close implements ice.TCPMux.
func (m *tcpMux) Close() error {
	var errs []error
	for _, one := range m.byAddr {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}

// boundedListener closes what comes beyond a number of open connections.
type boundedListener struct {
	*net.TCPListener
	most    int64
	open    *atomic.Int64
	refused *atomic.Uint64
	closed  chan struct{}
	once    sync.Once
}

// Accept implements net.Listener. Only Close ends it: pion gives a listener up at the first error, and the process may be
// short of descriptors for a moment.
func (l *boundedListener) Accept() (net.Conn, error) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		conn, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil {
			pause.Reset(acceptPause)
			select {
			case <-pause.C:
			case <-l.closed:
			}
			continue
		}
		if l.open.Add(1) <= l.most {
			return &countedConn{TCPConn: conn, open: l.open}, nil
		}
		l.open.Add(-1)
		l.refused.Add(1)
		_ = conn.SetLinger(0) // no state is kept for it
		_ = conn.Close()
	}
}

// Close implements net.Listener.
func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.TCPListener.Close()
}

// countedConn gives its place back when it is closed.
type countedConn struct {
	*net.TCPConn
	once sync.Once
	open *atomic.Int64
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.TCPConn.Close()
}
