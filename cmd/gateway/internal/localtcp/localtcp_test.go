package localtcp

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// congestion returns a socket's congestion control.
func congestion(t *testing.T, c syscall.Conn) string {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return current(raw)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// accepted connects to a listener and returns both ends.
func accepted(t *testing.T, l net.Listener) (served, client net.Conn) {
	t.Helper()
	client, err := net.DialTimeout("tcp", l.Addr().String(), 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	served, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = served.Close() })
	return served, client
}

// A connection within the machine is not paced, and carries bytes.
func TestLocalConnectionsAreNotPaced(t *testing.T) {
	served, client := accepted(t, listen(t))
	if name := congestion(t, served.(syscall.Conn)); paced(name) {
		t.Errorf("congestion control is %q", name)
	}
	go func() {
		_, _ = served.Write([]byte("picture"))
		_ = served.Close()
	}()
	if got, err := io.ReadAll(client); err != nil || string(got) != "picture" {
		t.Errorf("got %q, %v", got, err)
	}
}

// A peer on another machine gets what the system would have given it: here one that passes for it by its addresses.
func TestOtherConnectionsKeepTheSystemsChoice(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	usual, _ := accepted(t, plain)
	system := congestion(t, usual.(syscall.Conn))

	served, _ := accepted(t, listen(t))
	conn := served.(*net.TCPConn)
	l := &listener{system: system}
	l.settle(conn, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)})
	if name := congestion(t, conn); paced(name) {
		t.Errorf("a local peer's congestion control became %q", name)
	}
	l.settle(conn, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2)})
	if name := congestion(t, conn); name != system {
		t.Errorf("another peer's congestion control is %q, want the system's %q", name, system)
	}
}

func TestWhatIsLocal(t *testing.T) {
	for _, c := range []struct {
		own, peer string
		want      bool
	}{
		{"127.0.0.1:1", "127.0.0.1:2", true},
		{"[::1]:1", "[::1]:2", true},
		{"[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.2]:2", true},
		{"192.0.2.1:1", "192.0.2.1:2", true},
		{"192.0.2.1:1", "192.0.2.2:2", false},
		{"[2001:db8::1]:1", "[2001:db8::2]:2", false},
		{"[2001:db8::1]:1", "[2001:db8::1]:2", true},
	} {
		own, peer := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.own)), net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.peer))
		if got := local(own, peer); got != c.want {
			t.Errorf("%s and %s: %v, want %v", c.own, c.peer, got, c.want)
		}
	}
}

func TestListenTellsWhatIsWrong(t *testing.T) {
	l := listen(t)
	if _, err := Listen(t.Context(), "tcp", l.Addr().String()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v, want %v", err, syscall.EADDRINUSE)
	}
	_ = l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
}
