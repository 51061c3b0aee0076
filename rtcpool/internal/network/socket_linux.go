package network

import (
	"encoding/binary"
	"net"

	"golang.org/x/sys/unix"
)

// countOverflow asks the kernel to tell how many packets a socket dropped (socket(7), SO_RXQ_OVFL).
func countOverflow(conn *net.UDPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
	})
}

// overflowOf finds the drop counter in the control messages of a packet (cmsg(3)). It is told with the packets that follow
// a drop.
func overflowOf(oob []byte) (uint32, bool) {
	for len(oob) >= unix.SizeofCmsghdr {
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return 0, false
		}
		if header.Level == unix.SOL_SOCKET && header.Type == unix.SO_RXQ_OVFL && len(data) >= 4 {
			return binary.NativeEndian.Uint32(data), true
		}
		oob = rest
	}
	return 0, false
}

// receiveBufferOf returns the receive buffer that the kernel granted, in bytes of packets; it counts its own needs double.
func receiveBufferOf(conn *net.UDPConn) int {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	granted := 0
	_ = raw.Control(func(fd uintptr) {
		if n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil {
			granted = n / 2
		}
	})
	return granted
}
