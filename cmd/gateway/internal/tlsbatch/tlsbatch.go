// Package tlsbatch lets gRPC's connections over TLS be written in few system calls.
//
// crypto/tls makes a system call of each record, of at most 16 KiB: a picture of 720p takes 85. Here each connection has a layer below TLS, which
// gathers the records of one Write and hands them to the socket together, and one above TLS, which tells it where a Write begins and ends. When a
// Write returns, the socket has all of it.
// Handshakes, and alerts and key updates while nothing is written, pass as they come; those in the middle of a Write go out with it, in
// their place.
package tlsbatch

import (
	"context"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
)

const (
	// oneRecord is the most that a record of TLS carries (RFC 8446, section 5.1): what fits in one is not gathered.
	oneRecord = 16 << 10
	// overhead is more than a record has beside what it carries (RFC 8446, section 5.2).
	overhead = 5 + 256
	// Most bounds what is gathered before it goes to the socket, in bytes: 16 records, which is as much as the gateway lets gRPC write at once.
	Most = 16 * (oneRecord + overhead)
)

// Credentials returns credentials whose connections write in few system calls. They are those of creds in all else.
func Credentials(creds credentials.TransportCredentials) credentials.TransportCredentials {
	return batched{creds, &buffers{}}
}

// batched implements credentials.TransportCredentials.
type batched struct {
	credentials.TransportCredentials
	buffers *buffers
}

// ClientHandshake implements credentials.TransportCredentials.
func (b batched) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	below := &records{Conn: raw, buffers: b.buffers}
	secure, info, err := b.TransportCredentials.ClientHandshake(ctx, authority, below)
	if err != nil {
		return nil, nil, err
	}
	return &conn{Conn: secure, below: below}, info, nil
}

// ServerHandshake implements credentials.TransportCredentials.
func (b batched) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	below := &records{Conn: raw, buffers: b.buffers}
	secure, info, err := b.TransportCredentials.ServerHandshake(below)
	if err != nil {
		return nil, nil, err
	}
	return &conn{Conn: secure, below: below}, info, nil
}

// Clone implements credentials.TransportCredentials.
func (b batched) Clone() credentials.TransportCredentials {
	return batched{b.TransportCredentials.Clone(), b.buffers}
}

// buffers keeps buffers of Most bytes, so that connections hold one only while they need it.
type buffers struct{ pool sync.Pool }

// get returns a buffer. What is in it is not told.
func (b *buffers) get() *[Most]byte {
	if kept, ok := b.pool.Get().(*[Most]byte); ok {
		return kept
	}
	return new([Most]byte)
}

// put takes one back.
func (b *buffers) put(buffer *[Most]byte) { b.pool.Put(buffer) }
