package network

import (
	"net"
	"net/netip"
	"sync/atomic"
)

// udpSocket is a UDP socket that counts what the kernel dropped because nobody read in time. One goroutine at a time may
// read from it.
type udpSocket struct {
	*net.UDPConn
	overflow *atomic.Uint64 // of the pool
	seen     uint32         // the kernel's count for this socket
	oob      [64]byte
	release  func() // after Close; nil is nothing
}

// newUDPSocket takes over a connection, asks for a receive buffer and for the kernel's drop counter.
func newUDPSocket(conn *net.UDPConn, receiveBuffer int, overflow *atomic.Uint64, release func()) *udpSocket {
	_ = conn.SetReadBuffer(receiveBuffer) // less is granted without an error
	countOverflow(conn)
	return &udpSocket{UDPConn: conn, overflow: overflow, release: release}
}

// ReadFromAddrPort reads one packet. It implements ice.AddrPortReaderWriter.
func (s *udpSocket) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, oobn, _, from, err := s.ReadMsgUDPAddrPort(b, s.oob[:])
	if oobn > 0 {
		if drops, ok := overflowOf(s.oob[:oobn]); ok {
			s.overflow.Add(uint64(drops - s.seen)) // the kernel's counter wraps
			s.seen = drops
		}
	}
	return n, from, err
}

// WriteToAddrPort implements ice.AddrPortReaderWriter.
func (s *udpSocket) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return s.WriteToUDPAddrPort(b, to)
}

// ReadFrom implements net.PacketConn.
func (s *udpSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := s.ReadFromAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(netip.AddrPortFrom(from.Addr().Unmap(), from.Port())), nil
}

// Close closes the socket.
func (s *udpSocket) Close() error {
	if s.release != nil {
		s.release()
	}
	return s.UDPConn.Close()
}
