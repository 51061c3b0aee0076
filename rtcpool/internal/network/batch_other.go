//go:build !linux || !(amd64 || arm64)

package network

import (
	"net"
	"net/netip"
)

// batch is always empty: packets are read one by one.
type batch struct{}

func newBatch(*net.UDPConn) *batch { return nil }

func (*batch) left() bool { return false }

func (*batch) next([]byte) (int, netip.AddrPort, []byte) { return 0, netip.AddrPort{}, nil }

func (*batch) lengths() []int { return nil }

func (*batch) read() error { return nil }
