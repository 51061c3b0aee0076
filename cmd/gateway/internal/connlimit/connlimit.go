// Package connlimit bounds how many connections a listener has open, in all and from one address. Those that are too many are closed as soon as they are accepted,
// so that who makes them learns it, and nobody waits behind them.
package connlimit

import (
	"net"
	"net/netip"
	"sync"
)

// Limits bounds the connections of one listener.
type Limits struct {
	// Total is how many may be open.
	Total int
	// PerAddress is how many of them may be from one address, or from one /64 network of IPv6. 0 is no limit.
	PerAddress int
}

// Stats is what became of connections so far.
type Stats struct {
	Open                        int
	RefusedTotal, RefusedByAddr uint64 // closed, for one of the limits
}

// Listener is a listener with limits. It is safe for concurrent use.
type Listener struct {
	net.Listener
	limits Limits

	mu    sync.Mutex
	stats Stats
	from  map[netip.Addr]int // open ones; never more entries than connections
}

// New returns a listener that accepts what another one does, within limits.
func New(l net.Listener, limits Limits) *Listener {
	return &Listener{Listener: l, limits: limits, from: make(map[netip.Addr]int)}
}

// Stats returns what became of connections so far.
func (l *Listener) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		at := addressOf(c.RemoteAddr())
		if l.take(at) {
			return &conn{Conn: c, gone: sync.OnceFunc(func() { l.release(at) })}, nil
		}
		_ = c.Close() // nothing was read or written
	}
}

// take takes the place of a connection, and tells whether there is one.
func (l *Listener) take(at netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.stats.Open >= l.limits.Total:
		l.stats.RefusedTotal++
		return false
	case l.limits.PerAddress > 0 && l.from[at] >= l.limits.PerAddress:
		l.stats.RefusedByAddr++
		return false
	}
	l.stats.Open++
	l.from[at]++
	return true
}

// release gives it back.
func (l *Listener) release(at netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Open--
	if l.from[at]--; l.from[at] <= 0 {
		delete(l.from, at)
	}
}

// addressOf returns the address that a connection counts for: of IPv6 the network that one customer gets (RFC 6177).
func addressOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if network, err := ip.Prefix(64); err == nil && ip.Is6() {
		return network.Addr()
	}
	return ip
}

// conn gives its place back when it is closed.
type conn struct {
	net.Conn
	gone func()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.gone()
	return c.Conn.Close()
}
