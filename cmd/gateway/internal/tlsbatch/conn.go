package tlsbatch

import (
	"net"
	"sync"
	"sync/atomic"
)

// conn is a connection over TLS, above it: it tells the layer below where a Write begins and ends. It is as safe for concurrent use as any net.Conn.
type conn struct {
	net.Conn
	below *records

	writing sync.Mutex // held by the one Write under way
	// calls is twice the number of Writes that have begun and not returned, and one more once the connection is closed.
	calls atomic.Int64
}

// Write implements net.Conn. After an error nothing more can be written; how much of b the peer gets is not told, and n is 0 then.
func (c *conn) Write(b []byte) (n int, err error) {
	if c.calls.Add(2)&1 != 0 {
		c.calls.Add(-2)
		return 0, net.ErrClosed
	}
	defer c.calls.Add(-2)
	c.writing.Lock()
	defer c.writing.Unlock()
	if len(b) <= oneRecord {
		return c.Conn.Write(b)
	}
	c.below.gather()
	n, err = c.Conn.Write(b)
	if failed := c.below.flush(); err == nil {
		err = failed
	}
	if err != nil {
		n = 0
	}
	return n, err
}

// Close implements net.Conn. As with any connection over TLS the peer is told, unless a Write is under way, which Close ends.
func (c *conn) Close() error {
	switch before := c.calls.Or(1); {
	case before&1 != 0:
		return net.ErrClosed
	case before != 0: // to tell the peer would mean to wait for the Write
		return c.below.Close()
	}
	return c.Conn.Close()
}
