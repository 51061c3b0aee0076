package network

import (
	"encoding/binary"
	"net/netip"
	"time"
)

const (
	rtpHeader     = 12
	channelHeader = 4 // of TURN's ChannelData
	// maxUnread is longer than packets wait in the kernel. A time of theirs before that is of a clock that was set.
	maxUnread = time.Minute
)

// Watcher is told what arrives from a source of RTP (RFC 3550 section 3).
type Watcher interface {
	// Arrived tells a packet's sequence number, and when the machine received it. It is called before the packet is handed up, on a
	// goroutine that reads, and must not block. What it is told is not authenticated yet: SRTP leaves the header in clear
	// (RFC 3711 section 3.1).
	Arrived(seq uint16, at time.Time)
}

// watchers are told of the sources of one peer connection, by SSRC. Nil is nobody.
type watchers map[uint32]Watcher

// witness finds who is to be told of what comes from an address. Where nobody watches it costs an atomic load.
type witness interface {
	watchersOf(from netip.AddrPort) watchers
}

// Watch names the sources of which it is to be told what arrives, in place of those before; none ends it. Packets over UDP have the
// kernel's time where it tells one, also inside TURN's. The others must be told of by Arrived.
func (n *Peer) Watch(sources map[uint32]Watcher) {
	var next *watchers
	if len(sources) > 0 {
		w := watchers(sources)
		next = &w
	}
	before := n.watched.Swap(next)
	if n.shared == nil {
		return
	}
	if next != nil {
		n.shared.watching.Add(1)
	}
	if before != nil {
		n.shared.watching.Add(-1)
	}
}

// Watching tells whether there is a source to watch.
func (n *Peer) Watching() bool { return n.watched.Load() != nil }

// Arrived tells of a packet that may have come otherwise than over UDP, as early as it is seen.
func (n *Peer) Arrived(packet []byte, at time.Time) { n.watchersOf(netip.AddrPort{}).tell(packet, at) }

func (n *Peer) watchersOf(netip.AddrPort) watchers {
	if w := n.watched.Load(); w != nil {
		return *w
	}
	return nil
}

// watchersOf finds the peer connection that talks to an address. An address that was never signalled is nobody's.
func (p *sharedPort) watchersOf(from netip.AddrPort) watchers {
	if p.watching.Load() == 0 {
		return nil
	}
	p.mu.Lock()
	n := p.claims[netip.AddrPortFrom(from.Addr().Unmap(), from.Port())]
	p.mu.Unlock()
	if n == nil {
		return nil
	}
	return n.watchersOf(from)
}

// tell finds the source of a packet.
func (w watchers) tell(packet []byte, at time.Time) {
	if len(packet) > channelHeader && packet[0]>>6 == 1 { // ChannelData (RFC 8656 section 12.4)
		packet = packet[channelHeader:]
	}
	if len(packet) < rtpHeader || packet[0]>>6 != 2 || packet[1] >= 192 && packet[1] <= 223 { // the latter are RTCP (RFC 5761 section 4)
		return
	}
	if of := w[binary.BigEndian.Uint32(packet[8:12])]; of != nil {
		of.Arrived(binary.BigEndian.Uint16(packet[2:4]), at)
	}
}

// arrived tells of a packet, with the control messages beside it.
func (s *udpSocket) arrived(packet []byte, from netip.AddrPort, oob []byte) {
	if s.witness == nil {
		return
	}
	if w := s.witness.watchersOf(from); w != nil {
		w.tell(packet, arrivalOf(oob, time.Now()))
	}
}

// arrivalOf returns when the machine received a packet that was read now: its age by the clock of the machine, taken from now, so that only
// a clock that is set while the packet waits can make it wrong.
func arrivalOf(oob []byte, now time.Time) time.Time {
	at, ok := receivedAt(oob)
	if !ok {
		return now
	}
	if age := time.Duration(now.UnixNano() - at); age > 0 && age < maxUnread {
		return now.Add(-age)
	}
	return now
}
