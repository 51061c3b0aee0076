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

const (
	tcpFirstFrame  = 5 * time.Second // within which a TCP connection must send its first STUN request whole
	tcpUnknownUser = 5 * time.Second // how long one with an unknown username is kept
	tcpReadPackets = 64              // that wait to be read, of one session
	tcpWriteBuffer = 256 << 10       // bytes that wait to be sent, of one connection: RTCP and checks only
	acceptPause    = 100 * time.Millisecond
)

// tcpMux is the TCP port of all sessions: a listener on each local address.
type tcpMux struct {
	byAddr map[netip.Addr]*ice.TCPMuxDefault
}

// openTCPMux opens the TCP port on each of the addresses.
func (w *Network) openTCPMux(port uint16, addrs []netip.Addr) (*tcpMux, error) {
	m := &tcpMux{byAddr: make(map[netip.Addr]*ice.TCPMuxDefault, len(addrs))}
	for _, ip := range addrs {
		at := netip.AddrPortFrom(ip, port)
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		if err != nil {
			err = fmt.Errorf("Network.TCPMuxPort: %w; choose a port that nothing else uses", err)
			return nil, errors.Join(err, m.Close())
		}
		bounded := &boundedListener{TCPListener: l, most: int64(w.cfg.MaxTCPConnections), open: &w.tcpOpen, refused: &w.tcpRefused, closed: make(chan struct{})}
		m.byAddr[ip] = ice.NewTCPMuxDefault(ice.TCPMuxParams{
			Listener: bounded, Logger: w.logs.NewLogger("tcpmux"), ReadBufferSize: tcpReadPackets, WriteBufferSize: tcpWriteBuffer,
			FirstStunBindTimeout: tcpFirstFrame, AliveDurationForConnFromStun: tcpUnknownUser,
		})
		w.log.Info("shared TCP port", "address", at.String())
		w.policy.protect(at)
	}
	if len(m.byAddr) == 0 {
		return nil, fmt.Errorf("Network.TCPMuxPort: no local address passes Interfaces, AllowNetworks and DenyNetworks; widen them")
	}
	return m, nil
}

// GetConnByUfrag implements ice.TCPMux.
func (m *tcpMux) GetConnByUfrag(ufrag string, isIPv6 bool, local net.IP) (net.PacketConn, error) {
	ip, _ := netip.AddrFromSlice(local)
	one, ok := m.byAddr[ip.Unmap()]
	if !ok {
		return nil, fmt.Errorf("no TCP port on %v", local)
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
