package network

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

const watched = 0x01020304 // an SSRC

// sighting is a Watcher that keeps what it is told. It is used by one goroutine.
type sighting struct {
	seqs []uint16
	at   []time.Time
}

func (s *sighting) Arrived(seq uint16, at time.Time) {
	s.seqs, s.at = append(s.seqs, seq), append(s.at, at)
}

// rtpOf is a packet of a source, or one of RTCP by its type.
func rtpOf(seq uint16, ssrc uint32, kind byte) string {
	b := []byte{0x80, kind, 0, 0, 11: 0}
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	return string(b)
}

// later lets time pass in which nobody reads.
func later(t *testing.T) {
	t.Helper()
	pause := time.NewTimer(20 * time.Millisecond)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-t.Context().Done():
	}
}

// TestArrivalIsWhenTheMachineReceivedAPacket reads packets long after they came, from each kind of socket: who watches is told before the
// reader has them, of the watched source alone, and of the time of the kernel.
func TestArrivalIsWhenTheMachineReceivedAPacket(t *testing.T) {
	for name, open := range kindsOfSockets() {
		t.Run(name, func(t *testing.T) { arrives(t, open) })
	}
}

// opened is a socket, from which is read.
type opened struct {
	at   net.Addr
	read func([]byte) (int, error)
}

// kindsOfSockets opens one of a peer connection that talks to far.
func kindsOfSockets() map[string]func(t *testing.T, n *Peer, far netip.AddrPort) opened {
	own := func(t *testing.T, n *Peer, _ netip.AddrPort) (*hostSocket, opened) {
		s := hostAt(t, n)
		return s, opened{s.LocalAddr(), func(b []byte) (int, error) { n, _, err := s.ReadFromAddrPort(b); return n, err }}
	}
	return map[string]func(t *testing.T, n *Peer, far netip.AddrPort) opened{
		"own": func(t *testing.T, n *Peer, far netip.AddrPort) opened {
			_, o := own(t, n, far)
			return o
		},
		"own, in batches": func(t *testing.T, n *Peer, far netip.AddrPort) opened {
			s, o := own(t, n, far)
			s.batch = newBatch(s.UDPConn)
			s.flow.dense = s.batch != nil
			return o
		},
		"shared": func(t *testing.T, n *Peer, far netip.AddrPort) opened {
			p := &sharedPort{claims: make(map[netip.AddrPort]*Peer), users: make(map[*Peer]int)}
			conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			s := sharedSocket{newUDPSocket(conn, 1<<16, n.network.overflow, p)}
			t.Cleanup(func() { _ = s.Close() })
			n.shared = p
			if !p.join(n, []netip.AddrPort{far}) {
				t.Fatal("the port is not shared")
			}
			return opened{s.LocalAddr(), func(b []byte) (int, error) { n, _, err := s.ReadFromAddrPort(b); return n, err }}
		},
		"of TURN": func(t *testing.T, n *Peer, _ netip.AddrPort) opened {
			c, err := n.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			return opened{c.LocalAddr(), func(b []byte) (int, error) { n, _, err := c.ReadFrom(b); return n, err }}
		},
	}
}

func arrives(t *testing.T, open func(*testing.T, *Peer, netip.AddrPort) opened) {
	n := testNetwork(t, Config{SocketReceiveBuffer: 1 << 20}).NewPeer(t.Context(), nil)
	defer n.Leave()
	far, farAt := stranger(t)
	s := open(t, n, farAt)
	b := make([]byte, ReceiveMTU)
	next := func(texts ...string) {
		t.Helper()
		for _, text := range texts {
			if c, err := s.read(b); err != nil || string(b[:c]) != text {
				t.Fatalf("%q, %v, want %q", b[:c], err, text)
			}
		}
	}
	sends := func(texts ...string) {
		t.Helper()
		for _, text := range texts {
			send(t, far, s.at, text)
		}
	}
	packet := rtpOf(7, watched, 111)
	sends(packet)
	next(packet)
	seen := &sighting{}
	n.Watch(map[uint32]Watcher{watched: seen})
	begun := time.Now()
	strangers := []string{rtpOf(1, watched+1, 111), rtpOf(2, watched, 200), "\x00check", rtpByte, packet[:11]}
	sends(strangers...)
	inChannel := "\x40\x00\x00\x0c" + rtpOf(9, watched, 111)
	sends(packet, inChannel)
	came := time.Now()
	later(t)
	next(strangers...)
	if len(seen.seqs) != 0 {
		t.Errorf("told of %v", seen.seqs)
	}
	next(packet, inChannel)
	if len(seen.seqs) != 2 || seen.seqs[0] != 7 || seen.seqs[1] != 9 {
		t.Fatalf("told of %v", seen.seqs)
	}
	for _, at := range seen.at {
		if at.Before(begun) || at.After(came) {
			t.Errorf("came %v after the first was sent; all were sent in %v", at.Sub(begun), came.Sub(begun))
		}
	}
	n.Watch(nil)
	sends(packet)
	next(packet)
	if len(seen.seqs) != 2 {
		t.Errorf("told of %v after the end", seen.seqs)
	}
}

// TestSharedPortTellsOnlyWhoTalksToTheSender has two users watch the same number, which sources of both may have.
func TestSharedPortTellsOnlyWhoTalksToTheSender(t *testing.T) {
	w := testNetwork(t, Config{})
	p := &sharedPort{claims: make(map[netip.AddrPort]*Peer), users: make(map[*Peer]int)}
	a, b := w.NewPeer(t.Context(), nil), w.NewPeer(t.Context(), nil)
	seen := map[*Peer]*sighting{a: {}, b: {}}
	far := netip.MustParseAddrPort("127.0.0.1:1000")
	other := netip.MustParseAddrPort("127.0.0.1:1001")
	for n, at := range map[*Peer]netip.AddrPort{a: far, b: other} {
		n.shared = p
		if !p.join(n, []netip.AddrPort{at}) {
			t.Fatal("the port is not shared")
		}
		n.Watch(map[uint32]Watcher{watched: seen[n]})
	}
	s := &udpSocket{overflow: &atomic.Uint64{}, witness: p}
	mapped := netip.AddrPortFrom(netip.AddrFrom16(far.Addr().As16()), far.Port())
	for _, from := range []netip.AddrPort{far, mapped, netip.MustParseAddrPort("127.0.0.1:1002")} {
		s.arrived([]byte(rtpOf(7, watched, 111)), from, nil)
	}
	if len(seen[a].seqs) != 2 || len(seen[b].seqs) != 0 {
		t.Errorf("told %v and %v", seen[a].seqs, seen[b].seqs)
	}
	a.Leave()
	s.arrived([]byte(rtpOf(8, watched, 111)), other, nil)
	b.Leave()
	s.arrived([]byte(rtpOf(9, watched, 111)), other, nil)
	if len(seen[a].seqs) != 2 || len(seen[b].seqs) != 1 || p.watching.Load() != 0 {
		t.Errorf("told %v and %v, %d watch", seen[a].seqs, seen[b].seqs, p.watching.Load())
	}
}

// TestArrivalWithoutTheKernelsTime takes the time of the reading where there is no other, or none that can be.
func TestArrivalWithoutTheKernelsTime(t *testing.T) {
	n := testNetwork(t, Config{}).NewPeer(t.Context(), nil)
	defer n.Leave()
	seen := &sighting{}
	n.Watch(map[uint32]Watcher{watched: seen})
	now := time.Now()
	n.Arrived([]byte(rtpOf(3, watched, 111)), now)
	if !n.Watching() || len(seen.seqs) != 1 || seen.seqs[0] != 3 || seen.at[0] != now {
		t.Errorf("told of %v at %v", seen.seqs, seen.at)
	}
	if at := arrivalOf(nil, now); at != now {
		t.Errorf("%v from now without a time", at.Sub(now))
	}
	n.Watch(nil)
	if n.Arrived([]byte(rtpOf(4, watched, 111)), now); n.Watching() || len(seen.seqs) != 1 {
		t.Errorf("told of %v after the end", seen.seqs)
	}
}

// BenchmarkUnwatchedArrival is what a socket adds to a packet while nobody watches.
func BenchmarkUnwatchedArrival(b *testing.B) {
	s := &udpSocket{witness: &Peer{}}
	packet, from := []byte(rtpOf(7, watched, 111)), netip.MustParseAddrPort("127.0.0.1:1000")
	b.ReportAllocs()
	for b.Loop() {
		s.arrived(packet, from, nil)
	}
}
