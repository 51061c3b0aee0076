package network

import (
	"encoding/binary"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// askKernel asks to be told how many packets a socket dropped (socket(7), SO_RXQ_OVFL), and when each was received (SO_TIMESTAMPNS).
func askKernel(conn *net.UDPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	})
}

// overflowOf finds the drop counter in the control messages of a packet. It is told with the packets that follow a drop: beside most
// there is the time alone.
func overflowOf(oob []byte) (uint32, bool) {
	if len(oob) <= timeSpace {
		return 0, false
	}
	if data := controlOf(oob, unix.SO_RXQ_OVFL); len(data) >= 4 {
		return binary.NativeEndian.Uint32(data), true
	}
	return 0, false
}

// timeSpace is how long the message of a time is, with what leads to the next.
var timeSpace = unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{})))

// receivedAt finds when the kernel received a packet, in nanoseconds of Unix time.
func receivedAt(oob []byte) (int64, bool) {
	data := controlOf(oob, unix.SCM_TIMESTAMPNS)
	if len(data) < int(unsafe.Sizeof(unix.Timespec{})) {
		return 0, false
	}
	at := unix.Timespec{}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&at)), unsafe.Sizeof(at)), data)
	return at.Nano(), true
}

// controlOf finds a message of the socket's own level among those beside a packet (cmsg(3)).
func controlOf(oob []byte, kind int32) []byte {
	for len(oob) >= unix.SizeofCmsghdr {
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return nil
		}
		if header.Level == unix.SOL_SOCKET && header.Type == kind {
			return data
		}
		oob = rest
	}
	return nil
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
