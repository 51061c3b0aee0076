//go:build !linux

package localtcp

import "syscall"

// current knows nothing: only Linux lets a socket choose.
func current(syscall.RawConn) string { return "" }

// choose cannot.
func choose(syscall.RawConn, string) bool { return false }
