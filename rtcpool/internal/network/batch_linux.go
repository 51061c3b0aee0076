//go:build amd64 || arm64

package network

import (
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batchPackets is how many packets one system call reads.
	batchPackets = 16
	batchControl = 64 // bytes of control messages beside each
)

// batch is packets that one system call has read (recvmmsg(2)), of an IPv4 socket. A nil batch is empty. It has one user at a time.
type batch struct {
	raw     syscall.RawConn
	do      func(fd uintptr) bool // made once
	errno   syscall.Errno
	headers [batchPackets]mmsghdr
	iovecs  [batchPackets]unix.Iovec
	names   [batchPackets]unix.RawSockaddrInet4
	control [batchPackets][batchControl]byte
	packets [batchPackets][ReceiveMTU]byte
	sizes   [batchPackets]int
	at, n   int
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	length uint32
	_      [4]byte
}

// newBatch returns an empty batch of a socket, nil when it is none of IPv4.
func newBatch(conn *net.UDPConn) *batch {
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok || local.IP.To4() == nil {
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	b := &batch{raw: raw}
	b.do = b.receive
	for i := range b.headers {
		b.iovecs[i].Base = &b.packets[i][0]
		b.iovecs[i].SetLen(ReceiveMTU)
		h := &b.headers[i].header
		h.Iov = &b.iovecs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Control = &b.control[i][0]
	}
	return b
}

// left tells whether there is another packet.
func (b *batch) left() bool { return b != nil && b.at < b.n }

// next copies the next packet, and tells its sender and the control messages beside it.
func (b *batch) next(into []byte) (n int, from netip.AddrPort, control []byte) {
	i := b.at
	b.at++
	n = copy(into, b.packets[i][:b.sizes[i]])
	port := (*[2]byte)(unsafe.Pointer(&b.names[i].Port)) // in network order
	from = netip.AddrPortFrom(netip.AddrFrom4(b.names[i].Addr), uint16(port[0])<<8|uint16(port[1]))
	return n, from, b.control[i][:b.headers[i].header.Controllen]
}

// lengths are those of the packets.
func (b *batch) lengths() []int { return b.sizes[:b.n] }

// read reads what is there and does not wait. Nothing is no error; a deadline that is over, and a closed socket, are.
func (b *batch) read() error {
	b.at, b.n, b.errno = 0, 0, 0
	for i := range b.headers {
		b.headers[i].header.Namelen = unix.SizeofSockaddrInet4
		b.headers[i].header.SetControllen(batchControl)
	}
	if err := b.raw.Read(b.do); err != nil {
		return err
	}
	switch b.errno {
	case 0, unix.EAGAIN, unix.EINTR, unix.ECONNREFUSED: // the last is about what was sent
		return nil
	}
	return &net.OpError{Op: "read", Net: "udp4", Err: b.errno}
}

func (b *batch) receive(fd uintptr) bool {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.headers[0])), batchPackets, unix.MSG_DONTWAIT, 0, 0)
	b.errno = errno
	if errno == 0 {
		b.n = int(n)
		for i := range b.n {
			b.sizes[i] = int(b.headers[i].length)
		}
	}
	return true
}
