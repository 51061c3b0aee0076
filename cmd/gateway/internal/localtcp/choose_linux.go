package localtcp

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// current returns a socket's congestion control; empty where it cannot be told.
func current(raw syscall.RawConn) (name string) {
	_ = raw.Control(func(fd uintptr) { name, _ = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION) })
	return name
}

// choose sets a socket's congestion control, and tells whether it could.
func choose(raw syscall.RawConn, name string) (ok bool) {
	err := raw.Control(func(fd uintptr) {
		ok = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name) == nil
	})
	return ok && err == nil
}
