package network

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
	"github.com/pion/webrtc/v4"
)

const (
	lookupTimeout = 3 * time.Second // of the name of a STUN or TURN server
	dialTimeout   = 5 * time.Second // of a TURN server over TCP, TLS included
)

var errPeerClosed = errors.New("the peer connection is closing")

// Peer is the network as one peer connection sees it (transport.Net): what it opens belongs to it, so that nothing it
// waits for outlives it. Its methods are safe for concurrent use.
type Peer struct {
	transport.Net // interfaces, and what pion does not use
	network       *Network
	ctx           context.Context // ends look-ups and dialing
	cancel        context.CancelFunc
	refreshFailed func(code int) // a TURN server refused to refresh an allocation
	watched       atomic.Pointer[watchers]

	mu     sync.Mutex
	closed bool
	open   map[io.Closer]*turnWatch // the watch is nil for all but TURN
	tls    map[string]struct{}      // host:port of TURN servers over TLS
	shared *sharedPort              // nil for sockets of its own
	kept   map[socketKey]*keptSocket
}

// NewPeer makes the network of one peer connection. refreshFailed is called, on any goroutine, when a TURN server
// refuses to refresh; nil is nothing. Leave must be called.
func (w *Network) NewPeer(ctx context.Context, refreshFailed func(code int)) *Peer {
	n := &Peer{network: w, open: make(map[io.Closer]*turnWatch), kept: make(map[socketKey]*keptSocket)}
	n.refreshFailed = func(code int) {
		w.relayRefused.Add(1)
		if refreshFailed != nil {
			refreshFailed(code)
		}
	}
	n.ctx, n.cancel = context.WithCancel(ctx)
	if all, err := w.currentInterfaces(); err == nil {
		n.Net = all
	} else {
		w.log.Warn("reading the network interfaces", "error", err)
		n.Net = &stdnet.Net{} // none: no host candidates
	}
	return n
}

// Join lets the peer connection use the shared port with the fewest users of which none talks to the same remotes. Without
// any it has sockets of its own. It is called at most once, before Settings.
func (n *Peer) Join(remotes []netip.AddrPort) {
	w := n.network
	ports := slices.Clone(w.ports)
	slices.SortStableFunc(ports, func(a, b *sharedPort) int { return a.size() - b.size() })
	for _, p := range ports {
		if p.join(n, remotes) {
			n.shared = p
			return
		}
	}
	if len(ports) > 0 {
		w.spilled.Add(1)
		w.log.Warn("every shared UDP port has a session that talks to the same remote address; this one gets sockets of its own")
	}
}

// Shares tells whether the peer connection uses a shared port.
func (n *Peer) Shares() bool { return n.shared != nil }

// Leave ends the peer connection's part in the network. It is idempotent.
func (n *Peer) Leave() {
	n.Abort()
	n.Watch(nil)
	if n.shared != nil {
		n.shared.leave(n)
	}
}

// SetServers takes note of which servers are reached by TLS: pion's dialer is told no more than host and port.
func (n *Peer) SetServers(servers []webrtc.ICEServer) {
	overTLS := make(map[string]struct{})
	for _, s := range servers {
		for _, text := range s.URLs {
			uri, err := stun.ParseURI(text)
			if err == nil && uri.Scheme == stun.SchemeTypeTURNS && uri.Proto == stun.ProtoTypeTCP {
				overTLS[net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port))] = struct{}{}
			}
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tls = overTLS
}

// own keeps what was opened, or closes it when the peer connection is closing.
func (n *Peer) own(c io.Closer, w *turnWatch) error {
	n.mu.Lock()
	closed := n.closed
	if !closed {
		n.open[c] = w
	}
	n.mu.Unlock()
	if closed {
		_ = c.Close() // without the lock, which it takes itself
		return errPeerClosed
	}
	return nil
}

func (n *Peer) disown(c io.Closer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.open, c)
}

// Cancel ends look-ups and dialing, and lets no more begin.
func (n *Peer) Cancel() { n.cancel() }

// Abort closes everything that is open, so that whatever waits for it ends.
func (n *Peer) Abort() {
	n.cancel()
	n.mu.Lock()
	n.closed = true
	open := n.open
	n.open = make(map[io.Closer]*turnWatch)
	for _, k := range n.kept {
		k.expiry.Stop()
	}
	clear(n.kept)
	n.mu.Unlock()
	for c, w := range open {
		if w != nil {
			w.cancel()
		}
		_ = c.Close()
	}
}

// ListenUDP opens the socket of a host or server-reflexive candidate, or gives the one that an ICE restart has left.
func (n *Peer) ListenUDP(network string, at *net.UDPAddr) (transport.UDPConn, error) {
	s, err := n.hostSocket(network, at)
	if err != nil {
		return nil, err // not a nil socket in an interface
	}
	return s, nil
}

func (n *Peer) listen(network string, at *net.UDPAddr, w *turnWatch) (*udpSocket, error) {
	conn, err := net.ListenUDP(network, at)
	if err != nil {
		return nil, err
	}
	s := newUDPSocket(conn, n.network.cfg.SocketReceiveBuffer, n.network.overflow, n)
	s.release = func() { n.disown(s) }
	if err := n.own(s, w); err != nil {
		return nil, err
	}
	return s, nil
}

// ListenPacket opens the socket of a TURN client over UDP: pion uses it for nothing else.
func (n *Peer) ListenPacket(network, address string) (net.PacketConn, error) {
	at, err := net.ResolveUDPAddr(network, address) // pion gives addresses, never names
	if err != nil {
		return nil, err
	}
	t := &turnSocket{watch: turnWatch{refused: n.refreshFailed}}
	if t.udpSocket, err = n.listen(network, at, &t.watch); err != nil {
		return nil, err
	}
	return t, nil
}

// DialUDP opens a connected socket.
func (n *Peer) DialUDP(network string, from, to *net.UDPAddr) (transport.UDPConn, error) {
	conn, err := net.DialUDP(network, from, to)
	if err != nil {
		return nil, err
	}
	s := newUDPSocket(conn, n.network.cfg.SocketReceiveBuffer, n.network.overflow, n)
	s.release = func() { n.disown(s) }
	if err := n.own(s, nil); err != nil {
		return nil, err
	}
	return s, nil
}

// Dial connects to a TURN server over TCP, or TLS where its URL says so. It implements proxy.Dialer for pion, which
// otherwise could be given no certificate authorities.
func (n *Peer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(n.ctx, max(dialTimeout, n.network.longer))
	defer cancel()
	dialer := net.Dialer{Resolver: n.network.lookUp}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	_, overTLS := n.tls[address]
	n.mu.Unlock()
	if overTLS {
		host, _, _ := net.SplitHostPort(address)
		client := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: n.network.cfg.RootCAs, MinVersion: tls.VersionTLS12})
		if err := client.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("TLS with %s: %w", address, err)
		}
		conn = client
	}
	s := &turnStream{Conn: conn, watch: turnWatch{refused: n.refreshFailed}}
	s.release = func() { n.disown(s) }
	if err := n.own(s, &s.watch); err != nil {
		return nil, err
	}
	return s, nil
}

// ResolveUDPAddr looks up host:port, for as long as the peer connection lives.
func (n *Peer) ResolveUDPAddr(network, address string) (*net.UDPAddr, error) {
	addr, err := n.resolve(strings.TrimPrefix(network, "udp"), address)
	if err != nil {
		return nil, err
	}
	return net.UDPAddrFromAddrPort(addr), nil
}

// ResolveTCPAddr does the same for TCP.
func (n *Peer) ResolveTCPAddr(network, address string) (*net.TCPAddr, error) {
	addr, err := n.resolve(strings.TrimPrefix(network, "tcp"), address)
	if err != nil {
		return nil, err
	}
	return net.TCPAddrFromAddrPort(addr), nil
}

// resolve looks up host:port. The family is "4", "6", or empty for either, IPv4 before IPv6.
func (n *Peer) resolve(family, address string) (netip.AddrPort, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port of %s: %w", address, err)
	}
	ctx, cancel := context.WithTimeout(n.ctx, max(lookupTimeout, n.network.longer))
	defer cancel()
	ips, err := n.network.lookUp.LookupNetIP(ctx, "ip"+family, host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	best := netip.Addr{}
	for _, ip := range ips {
		if ip = ip.Unmap(); !best.IsValid() || (ip.Is4() && !best.Is4()) {
			best = ip
		}
	}
	if !best.IsValid() {
		return netip.AddrPort{}, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	return netip.AddrPortFrom(best, uint16(port)), nil
}

// promptResolver returns a resolver that stops as soon as it is told: Go's own waits for an answer in any case, five seconds
// and more.
func promptResolver(base *net.Resolver) *net.Resolver {
	dial := (&net.Dialer{}).DialContext
	if base != nil && base.Dial != nil {
		dial = base.Dial
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err == nil {
			context.AfterFunc(ctx, func() { _ = conn.Close() }) // at the end of the exchange at the latest
		}
		return conn, err
	}}
}
