package network

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// udpSocket is a UDP socket that counts what the kernel dropped because nobody read in time. One goroutine at a time may
// read from it.
type udpSocket struct {
	*net.UDPConn
	overflow *atomic.Uint64 // of the pool
	seen     uint32         // the kernel's count for this socket
	oob      [64]byte
	release  func()  // after Close; nil is nothing
	witness  witness // of what arrives; nil is nobody
	flow     flow
	batch    *batch // nil until packets come densely
}

// newUDPSocket takes over a connection, asks for a receive buffer and for what the kernel can tell of packets.
func newUDPSocket(conn *net.UDPConn, receiveBuffer int, overflow *atomic.Uint64, seen witness) *udpSocket {
	_ = conn.SetReadBuffer(receiveBuffer) // less is granted without an error
	askKernel(conn)
	return &udpSocket{UDPConn: conn, overflow: overflow, witness: seen}
}

// ReadFromAddrPort reads one packet. It implements ice.AddrPortReaderWriter. While small packets come densely they are read a batch at
// a time, in a cadence: see flow.
func (s *udpSocket) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		if s.batch.left() {
			n, from, oob := s.batch.next(b)
			s.countDrops(oob)
			s.arrived(b[:n], from, oob)
			return n, from, nil
		}
		if !s.flow.dense {
			return s.readOne(b)
		}
		if err := s.readBatch(); err != nil {
			return 0, netip.AddrPort{}, err
		}
	}
}

// readOne waits for a packet.
func (s *udpSocket) readOne(b []byte) (int, netip.AddrPort, error) {
	n, oobn, _, from, err := s.ReadMsgUDPAddrPort(b, s.oob[:])
	s.countDrops(s.oob[:oobn])
	if err == nil {
		s.arrived(b[:n], from, s.oob[:oobn])
		s.flow.note(n, time.Now())
		if s.flow.dense && s.batch == nil {
			s.batch = newBatch(s.UDPConn)
			s.flow.dense = s.batch != nil
		}
	}
	return n, from, err
}

// readBatch rests until the next tick and reads what is there, which may be nothing. It heeds the socket's deadline.
func (s *udpSocket) readBatch() error {
	time.Sleep(untilTick(time.Now())) // a cadence: nobody waits for it
	if err := s.batch.read(); err != nil {
		return err
	}
	now := time.Now()
	for _, length := range s.batch.lengths() {
		s.flow.note(length, now)
	}
	s.flow.looked(s.batch.left())
	return nil
}

// countDrops takes note of what the kernel says beside a packet.
func (s *udpSocket) countDrops(oob []byte) {
	if len(oob) == 0 {
		return
	}
	if drops, ok := overflowOf(oob); ok {
		s.overflow.Add(uint64(drops - s.seen)) // the kernel's counter wraps
		s.seen = drops
	}
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
