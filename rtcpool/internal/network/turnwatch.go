package network

import (
	"encoding/binary"
	"net"
	"slices"
	"sync"
)

// The few facts of STUN (RFC 8489 section 5) and TURN (RFC 8656 section 17) that are read here.
const (
	stunHeaderBytes    = 20
	stunMagicCookie    = 0x2112A442
	stunClassMask      = 0x0110
	stunClassError     = 0x0110
	stunMethodRefresh  = 0x0004
	stunAttrErrorCode  = 0x0009
	stunCodeStaleNonce = 438
	maxOpenRequests    = 32
)

// turnWatch follows the requests of one TURN client through its connection. pion's client waits up to ten seconds for an
// answer that does not come and cannot be told to stop: cancel answers what is open itself.
type turnWatch struct {
	refused func(code int) // the server refused to refresh an allocation

	mu        sync.Mutex
	open      [][12]byte // transactions without an answer, oldest first
	cancelled bool
	rest      []byte // of an answer that did not fit the reader's buffer
}

// stunType returns the type of a STUN message, or false.
func stunType(b []byte) (uint16, bool) {
	if len(b) < stunHeaderBytes || b[0]&0xC0 != 0 || binary.BigEndian.Uint32(b[4:]) != stunMagicCookie {
		return 0, false
	}
	return binary.BigEndian.Uint16(b), true
}

// wrote takes note of a request.
func (w *turnWatch) wrote(b []byte) {
	typ, ok := stunType(b)
	if !ok || typ&stunClassMask != 0 {
		return
	}
	id := [12]byte(b[8:20])
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Contains(w.open, id) {
		return
	}
	if len(w.open) >= maxOpenRequests {
		w.open = w.open[1:]
	}
	w.open = append(w.open, id)
}

// read takes note of an answer.
func (w *turnWatch) read(b []byte) {
	typ, ok := stunType(b)
	if !ok || typ&0x0100 == 0 {
		return // neither success nor error
	}
	id := [12]byte(b[8:20])
	w.mu.Lock()
	if i := slices.Index(w.open, id); i >= 0 {
		w.open = slices.Delete(w.open, i, i+1)
	}
	over := w.cancelled
	w.mu.Unlock()
	if typ != stunMethodRefresh|stunClassError || over {
		return
	}
	if code := stunErrorCode(b); code != 0 && code != stunCodeStaleNonce && w.refused != nil {
		w.refused(code)
	}
}

// stunErrorCode returns the code of an error response (RFC 8489 section 14.8), or 0.
func stunErrorCode(b []byte) int {
	for rest := b[stunHeaderBytes:]; len(rest) >= 4; {
		typ, n := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if len(rest) < 4+n {
			return 0
		}
		if typ == stunAttrErrorCode && n >= 4 {
			return int(rest[6]&7)*100 + int(rest[7])
		}
		rest = rest[min(len(rest), 4+(n+3)&^3):]
	}
	return 0
}

// cancel makes answer give what the client waits for.
func (w *turnWatch) cancel() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancelled = true
}

// answer fills b with an answer to the oldest open request, after cancel. It returns 0 when there is none.
func (w *turnWatch) answer(b []byte) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.cancelled {
		return 0
	}
	if len(w.rest) == 0 && len(w.open) > 0 {
		message := make([]byte, stunHeaderBytes+8)
		binary.BigEndian.PutUint16(message, stunMethodRefresh|stunClassError) // the method is not looked at
		binary.BigEndian.PutUint16(message[2:], 8)
		binary.BigEndian.PutUint32(message[4:], stunMagicCookie)
		copy(message[8:], w.open[0][:])
		w.open = w.open[1:]
		binary.BigEndian.PutUint16(message[20:], stunAttrErrorCode)
		binary.BigEndian.PutUint16(message[22:], 4)
		message[26] = 5 // 500, server error
		w.rest = message
	}
	n := copy(b, w.rest)
	w.rest = w.rest[n:]
	return n
}

// turnSocket is the UDP socket of a TURN client.
type turnSocket struct {
	*udpSocket
	watch turnWatch
}

// ReadFrom implements net.PacketConn.
func (s *turnSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := s.udpSocket.ReadFrom(b)
	if err != nil {
		if n := s.watch.answer(b); n > 0 {
			return n, s.LocalAddr(), nil
		}
		return n, from, err
	}
	s.watch.read(b[:n])
	return n, from, nil
}

// WriteTo implements net.PacketConn.
func (s *turnSocket) WriteTo(b []byte, to net.Addr) (int, error) {
	s.watch.wrote(b)
	return s.udpSocket.WriteTo(b, to)
}

// turnStream is the TCP or TLS connection of a TURN client.
type turnStream struct {
	net.Conn
	watch   turnWatch
	release func()
}

// Read implements net.Conn. Answers are watched where a read holds one from its start, as it does when the connection is
// quiet.
func (s *turnStream) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if err != nil && n == 0 {
		if n := s.watch.answer(b); n > 0 {
			return n, nil
		}
		return 0, err
	}
	s.watch.read(b[:n])
	return n, err
}

// Write implements net.Conn.
func (s *turnStream) Write(b []byte) (int, error) {
	s.watch.wrote(b)
	return s.Conn.Write(b)
}

// Close implements net.Conn.
func (s *turnStream) Close() error {
	s.release()
	return s.Conn.Close()
}
