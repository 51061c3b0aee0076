package network

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// hostAt opens the socket of a candidate on 127.0.0.1.
func hostAt(t *testing.T, n *Peer) *hostSocket {
	t.Helper()
	c, err := n.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return c.(*hostSocket)
}

// stranger is a socket of the other side.
func stranger(t *testing.T) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

const rtpByte = "\x80" // what a packet of RTP begins with; STUN's begin with less than 4

// read reads one packet and says where it is told to come from.
func read(t *testing.T, s *hostSocket) (string, netip.AddrPort) {
	t.Helper()
	if err := s.SetReadDeadline(time.Now().Add(hang)); err != nil {
		t.Fatal(err)
	}
	s.woken.Store(false) // or the end of the limit would be taken for the wake-up whose deadline it replaces
	b := make([]byte, 100)
	n, from, err := s.ReadFromAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n]), from
}

func send(t *testing.T, c *net.UDPConn, to net.Addr, text string) {
	t.Helper()
	if _, err := c.WriteTo([]byte(text), to); err != nil {
		t.Fatal(err)
	}
}

// TestHostSocketGoesOnAfterARestart closes a socket as an ICE restart does, and opens its successor: the port is the same, and media from where
// they came before wait until there is a remote candidate to hand them on for. STUN and what others send are told as they are.
func TestHostSocketGoesOnAfterARestart(t *testing.T) {
	n := testNetwork(t, Config{SocketReceiveBuffer: 1 << 20}).NewPeer(t.Context(), nil)
	defer n.Leave()
	old, oldAt := stranger(t)
	next, nextAt := stranger(t)
	s := hostAt(t, n)
	at := s.LocalAddr()
	send(t, old, at, rtpByte+"first")
	if text, from := read(t, s); text != rtpByte+"first" || from != oldAt {
		t.Fatalf("%q from %v", text, from)
	}
	for range 3 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.ReadFromAddrPort(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("reading from a closed socket: %v", err)
		}
		if _, err := s.WriteToAddrPort([]byte("x"), nextAt); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("writing to a closed socket: %v", err)
		}
		send(t, old, at, rtpByte+"under way")
		if s = hostAt(t, n); s.LocalAddr().String() != at.String() {
			t.Fatalf("opened %v after %v", s.LocalAddr(), at)
		}
		send(t, old, at, rtpByte+"after")
		send(t, old, at, "\x00check")
		if text, from := read(t, s); text != "\x00check" || from != oldAt {
			t.Fatalf("%q from %v before anything is written", text, from)
		}
		if _, err := s.WriteTo([]byte("check"), net.UDPAddrFromAddrPort(nextAt)); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"under way", "after"} {
			if text, from := read(t, s); text != rtpByte+want || from != nextAt {
				t.Fatalf("%q from %v, want %q from %v", text, from, want, nextAt)
			}
		}
		send(t, old, at, rtpByte+"later")
		if text, from := read(t, s); text != rtpByte+"later" || from != nextAt {
			t.Fatalf("%q from %v", text, from)
		}
	}
	send(t, next, at, rtpByte+"new")
	if text, from := read(t, s); text != rtpByte+"new" || from != nextAt {
		t.Fatalf("%q from %v", text, from)
	}
}

// TestHostSocketKeepsTheFirstMedia has the first media come when the socket is about to close, unread, and through two restarts.
func TestHostSocketKeepsTheFirstMedia(t *testing.T) {
	n := testNetwork(t, Config{}).NewPeer(t.Context(), nil)
	defer n.Leave()
	old, oldAt := stranger(t)
	s := hostAt(t, n)
	if _, err := s.WriteToAddrPort([]byte("check"), oldAt); err != nil {
		t.Fatal(err)
	}
	send(t, old, s.LocalAddr(), rtpByte+"first")
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = hostAt(t, n)
	}
	send(t, old, s.LocalAddr(), "\x00check")
	if text, _ := read(t, s); text != "\x00check" {
		t.Fatalf("%q before anything is written", text)
	}
	if _, err := s.WriteToAddrPort([]byte("check"), oldAt); err != nil {
		t.Fatal(err)
	}
	if text, from := read(t, s); text != rtpByte+"first" || from != oldAt {
		t.Errorf("%q from %v", text, from)
	}
}

// TestHostSocketsAreKeptForAWhileOnly shows that what is kept ends with the peer connection, and by itself.
func TestHostSocketsAreKeptForAWhileOnly(t *testing.T) {
	w := testNetwork(t, Config{})
	free := func(s *hostSocket) bool {
		conn, err := net.ListenUDP("udp4", s.LocalAddr().(*net.UDPAddr))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}
	n := w.NewPeer(t.Context(), nil)
	s := hostAt(t, n)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if free(s) {
		t.Error("the socket is closed at once")
	}
	n.Leave()
	if !free(s) {
		t.Error("the socket is open after the end")
	}
	n = w.NewPeer(t.Context(), nil)
	defer n.Leave()
	a, b := hostAt(t, n), hostAt(t, n)
	for _, s := range []*hostSocket{a, b} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if free(a) || !free(b) {
		t.Error("not one socket is kept for an address")
	}
	n.mu.Lock()
	k := n.kept[a.key]
	n.mu.Unlock()
	n.expire(k)
	if !free(a) || n.reuse(a.key) != nil {
		t.Error("the socket is open after its time")
	}
	n.Cancel()
	c := hostAt(t, n)
	if err := c.Close(); err != nil || !free(c) {
		t.Errorf("closed on the way to the end: %v, open", err)
	}
}

// TestHeldPacketsAreBounded floods a socket from the pair before while nothing is written.
func TestHeldPacketsAreBounded(t *testing.T) {
	n := testNetwork(t, Config{SocketReceiveBuffer: 1 << 20}).NewPeer(t.Context(), nil)
	defer n.Leave()
	old, _ := stranger(t)
	s := hostAt(t, n)
	at := s.LocalAddr()
	send(t, old, at, rtpByte)
	read(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = hostAt(t, n)
	for range 2 * heldPackets {
		send(t, old, at, rtpByte)
	}
	send(t, old, at, "\x00check")
	if text, _ := read(t, s); text != "\x00check" || len(s.held) != heldPackets {
		t.Errorf("%q, %d packets held", text, len(s.held))
	}
}

// TestHostSocketReadsAgainWhatItsEndMayHaveLost reads a packet, closes, and reads once more into the same buffer, as pion's loop does: after
// the deadline that pion sets first, or after the end.
func TestHostSocketReadsAgainWhatItsEndMayHaveLost(t *testing.T) {
	end := func(t *testing.T, s *hostSocket) {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	again := func(t *testing.T, s *hostSocket, b []byte, want error) {
		if _, _, err := s.ReadFromAddrPort(b); !errors.Is(err, want) {
			t.Fatal(err)
		}
	}
	for name, stop := range map[string]func(*testing.T, *hostSocket, []byte){
		"AfterTheEnd": func(t *testing.T, s *hostSocket, b []byte) {
			end(t, s)
			again(t, s, b, net.ErrClosed)
		},
		"AfterTheDeadline": func(t *testing.T, s *hostSocket, b []byte) {
			if err := s.SetDeadline(time.Now()); err != nil {
				t.Fatal(err)
			}
			again(t, s, b, os.ErrDeadlineExceeded)
			end(t, s)
		},
	} {
		t.Run(name, func(t *testing.T) { readsLastAgain(t, stop) })
	}
}

func readsLastAgain(t *testing.T, stop func(*testing.T, *hostSocket, []byte)) {
	n := testNetwork(t, Config{}).NewPeer(t.Context(), nil)
	defer n.Leave()
	old, oldAt := stranger(t)
	s := hostAt(t, n)
	send(t, old, s.LocalAddr(), rtpByte+"last")
	buffer := make([]byte, 100)
	if _, from, err := s.ReadFromAddrPort(buffer); err != nil || from != oldAt {
		t.Fatal(from, err)
	}
	stop(t, s, buffer)
	s = hostAt(t, n)
	if _, err := s.WriteToAddrPort([]byte("check"), oldAt); err != nil {
		t.Fatal(err)
	}
	send(t, old, s.LocalAddr(), "\x00check") // so that there is something to read in any case
	if text, from := read(t, s); text != rtpByte+"last" || from != oldAt {
		t.Errorf("%q from %v", text, from)
	}
}
