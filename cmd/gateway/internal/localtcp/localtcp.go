// Package localtcp listens so that connections within one machine are not paced.
//
// Where the system's congestion control is BBR, the kernel sets a timer for every segment, of connections over loopback too, where
// nothing can be congested. Local peers get Reno, which every Linux has and anybody may choose; all others get what the system says.
package localtcp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// unpaced is the congestion control of local connections where the system's paces.
const unpaced = "reno"

// paced tells whether a congestion control paces what it sends.
func paced(name string) bool { return strings.HasPrefix(name, "bbr") }

// Listen listens as net.Listen does.
func Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var system string // what other connections get; empty: nothing was changed
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		// A connection takes over what its listener has. The choice comes now, for pacing that has begun does not end.
		if before := current(raw); paced(before) && choose(raw, unpaced) {
			system = before
		}
		return nil // where it is not allowed, all stays as it was
	}}
	l, err := config.Listen(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("localtcp: %w", err)
	}
	if system == "" {
		return l, nil
	}
	return &listener{Listener: l, system: system}, nil
}

// listener gives connections from other machines back what the system says.
type listener struct {
	net.Listener
	system string
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		l.settle(tcp, tcp.LocalAddr(), tcp.RemoteAddr())
	}
	return conn, nil
}

// settle gives a connection between two addresses what it should have.
func (l *listener) settle(conn *net.TCPConn, own, peer net.Addr) {
	if local(own, peer) {
		return
	}
	if raw, err := conn.SyscallConn(); err == nil {
		choose(raw, l.system)
	}
}

// local tells whether both ends of a connection are on this machine.
func local(own, peer net.Addr) bool {
	a, errA := netip.ParseAddrPort(own.String())
	b, errB := netip.ParseAddrPort(peer.String())
	return errA == nil && errB == nil && (b.Addr().Unmap().IsLoopback() || a.Addr() == b.Addr())
}
