//go:build !linux

package network

import "net"

func countOverflow(*net.UDPConn)            {}
func overflowOf([]byte) (uint32, bool)      { return 0, false }
func receiveBufferOf(conn *net.UDPConn) int { return 0 }
