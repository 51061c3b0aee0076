package network

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// keptTime is how long a socket that pion closed waits to be used again: an ICE restart does so at once.
	keptTime = 2 * time.Second
	// heldPackets is how many packets from the pair before wait until pion would take them: half a second of a large call.
	heldPackets = 512
)

// hostSocket is the UDP socket of a local candidate. When ICE restarts, pion closes it and asks for a new one, though the other
// side goes on with the pair before until it has chosen another, and packets are under way (RFC 8445 section 9). So the
// socket stays open and is used again, and what comes from where media came before is handed on as if it came from a remote
// candidate of now: pion would throw it away. Media are authenticated by SRTP, whatever their address.
type hostSocket struct {
	*udpSocket
	peer   *Peer
	key    socketKey
	mu     sync.Mutex // over closed and the deadline that goes with it
	closed atomic.Bool
	woken  atomic.Bool                    // by a deadline that is ours
	to     atomic.Pointer[netip.AddrPort] // the first address that was written to: pion knows it
	media  atomic.Pointer[netip.AddrPort] // where the last packets came from that are not STUN

	// Of the reader, and after it of the next use.
	before netip.AddrPort // where media of the use before came from, or would have
	held   [][]byte       // packets for the next use, or until to is known
	buffer *byte          // what the last media packet was read into
	length int            // of that packet
}

// socketKey is what pion asks for.
type socketKey struct {
	network string
	ip      netip.Addr
}

// hostSocket opens a socket, or gives one that an ICE restart has left.
func (n *Peer) hostSocket(network string, at *net.UDPAddr) (*hostSocket, error) {
	key := socketKey{network: network}
	if at != nil {
		key.ip, _ = netip.AddrFromSlice(at.IP)
	}
	if s := n.reuse(key); s != nil {
		return s, nil
	}
	inner, err := n.listen(network, at, nil)
	if err != nil {
		return nil, err
	}
	return &hostSocket{udpSocket: inner, peer: n, key: key}, nil
}

// reuse returns a kept socket for its next use, or nil.
func (n *Peer) reuse(key socketKey) *hostSocket {
	n.mu.Lock()
	k := n.kept[key]
	delete(n.kept, key)
	n.mu.Unlock()
	if k == nil || !k.expiry.Stop() {
		return nil
	}
	if err := k.SetDeadline(time.Time{}); err != nil {
		return nil // closed by Abort meanwhile
	}
	next := &hostSocket{udpSocket: k.udpSocket, peer: n, key: key, held: k.held}
	next.before = k.before
	if from := k.media.Load(); from != nil {
		next.before = *from
		next.media.Store(from)
	} else if to := k.to.Load(); to != nil { // the first media may be under way, or unread
		next.before = *to
	}
	return next
}

// keptSocket waits for its next use.
type keptSocket struct {
	*hostSocket
	expiry *time.Timer
}

// keep lets the closed socket of a host candidate wait. It returns false when it cannot.
func (n *Peer) keep(s *hostSocket) bool {
	if !s.key.ip.IsValid() || s.key.ip.IsUnspecified() {
		return false // of a server-reflexive one
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.ctx.Err() != nil || n.kept[s.key] != nil {
		return false
	}
	k := &keptSocket{hostSocket: s}
	k.expiry = time.AfterFunc(keptTime, func() { n.expire(k) })
	n.kept[s.key] = k
	return true
}

func (n *Peer) expire(k *keptSocket) {
	n.mu.Lock()
	if n.kept[k.key] == k {
		delete(n.kept, k.key)
	}
	n.mu.Unlock()
	_ = k.udpSocket.Close()
}

// Close implements net.PacketConn. What reads and writes ends at once; the socket itself may be used again.
func (s *hostSocket) Close() error {
	s.mu.Lock()
	again := s.closed.Swap(true)
	if !again {
		_ = s.SetDeadline(time.Now())
	}
	s.mu.Unlock()
	switch {
	case again:
		return net.ErrClosed
	case s.peer.keep(s):
		return nil
	}
	return s.udpSocket.Close()
}

// ReadFromAddrPort implements ice.AddrPortReaderWriter.
func (s *hostSocket) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		if s.closed.Load() {
			s.holdLast(b)
			return 0, netip.AddrPort{}, net.ErrClosed
		}
		to := s.to.Load()
		if to != nil && len(s.held) > 0 {
			n := copy(b, s.held[0])
			s.held = slices.Delete(s.held, 0, 1)
			s.buffer, s.length = &b[0], n
			return n, *to, nil
		}
		n, from, err := s.udpSocket.ReadFromAddrPort(b)
		switch media := err == nil && n > 0 && b[0] >= 4; { // the others are STUN (RFC 7983 section 7)
		case s.closed.Load():
			if media {
				s.hold(b[:n])
			}
			return 0, from, net.ErrClosed
		case errors.Is(err, os.ErrDeadlineExceeded) && s.woken.Swap(false) && s.goOn():
			continue
		case errors.Is(err, os.ErrDeadlineExceeded): // pion begins to close a socket so, and Close has not been called yet
			s.holdLast(b)
			return 0, from, err
		case !media:
			s.buffer = nil
			return n, from, err
		case from == s.before && to == nil:
			s.hold(b[:n])
			continue
		case from == s.before:
			from = *to
		default:
			if last := s.media.Load(); last == nil || *last != from {
				s.media.Store(&from)
			}
		}
		s.buffer, s.length = &b[0], n
		return n, from, nil
	}
}

// goOn takes back the deadline that made the reader look at what it holds. It returns false when the socket is closed.
func (s *hostSocket) goOn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed.Load() && s.SetReadDeadline(time.Time{}) == nil
}

func (s *hostSocket) hold(packet []byte) {
	if len(s.held) < heldPackets {
		s.held = append(s.held, slices.Clone(packet))
	}
}

// holdLast holds the last packet once more, which pion may have thrown away because it was closing already. If it was not, SRTP
// knows the packet. pion reads into one buffer, and in it the packet still is.
func (s *hostSocket) holdLast(b []byte) {
	if len(b) > 0 && s.buffer == &b[0] {
		s.held = slices.Insert(s.held, 0, slices.Clone(b[:s.length]))
	}
	s.buffer = nil
}

// ReadFrom implements net.PacketConn.
func (s *hostSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := s.ReadFromAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(netip.AddrPortFrom(from.Addr().Unmap(), from.Port())), nil
}

// WriteToAddrPort implements ice.AddrPortReaderWriter.
func (s *hostSocket) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if s.closed.Load() {
		return 0, net.ErrClosed
	}
	if s.to.Load() == nil && s.to.CompareAndSwap(nil, &to) && s.before.IsValid() {
		s.woken.Store(true)
		_ = s.SetReadDeadline(time.Now()) // what is held need not wait for a packet
	}
	return s.udpSocket.WriteToAddrPort(b, to)
}

// WriteTo implements net.PacketConn.
func (s *hostSocket) WriteTo(b []byte, to net.Addr) (int, error) {
	at, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, net.InvalidAddrError("not a UDP address")
	}
	return s.WriteToAddrPort(b, at.AddrPort())
}
