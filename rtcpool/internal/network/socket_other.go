//go:build !linux

package network

import "net"

func askKernel(*net.UDPConn)                {}
func receivedAt([]byte) (int64, bool)       { return 0, false }
func overflowOf([]byte) (uint32, bool)      { return 0, false }
func receiveBufferOf(conn *net.UDPConn) int { return 0 }
