// Package connlimit bounds how many connections a listener has open, in all and from one address. Those that are too many are closed as soon as they are accepted,
// so that who makes them learns it, and nobody waits behind them.
package connlimit

import (
	"container/list"
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
	// CutOldest closes the oldest one, and not the newest, where Total is reached: for what is answered at once, so that whoever holds connections keeps nobody out.
	CutOldest bool
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
	order list.List          // of *conn, the oldest first
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
		one := &conn{Conn: c, of: l, at: addressOf(c.RemoteAddr())}
		oldest, ok := l.take(one)
		if oldest != nil {
			_ = oldest.Close()
		}
		if ok {
			return one, nil
		}
		_ = c.Close() // nothing was read or written
	}
}

// take takes the place of a connection, and tells whether there is one: perhaps that of the oldest, which is to be closed.
func (l *Listener) take(c *conn) (oldest *conn, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limits.PerAddress > 0 && l.from[c.at] >= l.limits.PerAddress {
		l.stats.RefusedByAddr++
		return nil, false
	}
	if l.stats.Open >= l.limits.Total {
		l.stats.RefusedTotal++
		first := l.order.Front()
		if !l.limits.CutOldest || first == nil {
			return nil, false
		}
		oldest = first.Value.(*conn) //nolint:forcetypeassert // nothing else is put in
		l.releaseLocked(oldest)
	}
	l.stats.Open++
	l.from[c.at]++
	c.place = l.order.PushBack(c)
	return oldest, true
}

// release gives it back.
func (l *Listener) release(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.releaseLocked(c)
}

// releaseLocked is release under mu. Once it has none it gives none back.
func (l *Listener) releaseLocked(c *conn) {
	if c.place == nil {
		return
	}
	l.order.Remove(c.place)
	c.place = nil
	l.stats.Open--
	if l.from[c.at]--; l.from[c.at] <= 0 {
		delete(l.from, c.at)
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
	of    *Listener
	at    netip.Addr
	place *list.Element // in of.order, under of.mu; nil without one
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.of.release(c)
	return c.Conn.Close()
}
