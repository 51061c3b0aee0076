package connlimit

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/leak"
)

const hang = time.Minute

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// listen returns a limited listener on loopback, and what it accepts.
func listen(t *testing.T, limits Limits) (*Listener, <-chan net.Conn) {
	t.Helper()
	inner, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(inner, limits)
	accepted, done := make(chan net.Conn, 16), make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		close(accepted)
		for c := range accepted {
			_ = c.Close()
		}
	})
	return l, accepted
}

// dial connects from an address of loopback.
func dial(t *testing.T, l *Listener, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: hang}
	c, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// wantClosed waits until the other side has closed.
func wantClosed(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(hang)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, io.ErrNoProgress) || isTimeout(err) {
		t.Fatalf("read %d bytes, %v; want it closed", n, err)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// TestO4_ConnectionsAreBounded: one address has no more than its share, all together no more than all; the refused are closed at once, and what is closed makes room.
func TestO4_ConnectionsAreBounded(t *testing.T) {
	l, accepted := listen(t, Limits{Total: 3, PerAddress: 2})
	first := dial(t, l, "127.0.0.1")
	served := []net.Conn{<-accepted}
	dial(t, l, "127.0.0.1")
	served = append(served, <-accepted)
	wantClosed(t, dial(t, l, "127.0.0.1"))
	dial(t, l, "127.0.0.2") // another address has its share
	served = append(served, <-accepted)
	wantClosed(t, dial(t, l, "127.0.0.3"))
	if got, want := l.Stats(), (Stats{Open: 3, RefusedTotal: 1, RefusedByAddr: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	_ = first.Close()
	_ = served[0].Close()
	_ = served[0].Close() // once more gives no second place back
	dial(t, l, "127.0.0.3")
	served[0] = <-accepted
	wantClosed(t, dial(t, l, "127.0.0.4"))
	for _, c := range served {
		_ = c.Close()
	}
	if s := l.Stats(); s.Open != 0 || len(l.from) != 0 {
		t.Errorf("%+v and %v are left", s, l.from)
	}
}

// TestO4_TheOldestMakesRoom: where that is asked for, one more than all closes the oldest and is served; an address that has its share closes none of others.
func TestO4_TheOldestMakesRoom(t *testing.T) {
	l, accepted := listen(t, Limits{Total: 3, PerAddress: 2, CutOldest: true})
	oldest := dial(t, l, "127.0.0.1")
	first := <-accepted
	dial(t, l, "127.0.0.1")
	second := <-accepted
	wantClosed(t, dial(t, l, "127.0.0.1"))
	dial(t, l, "127.0.0.2")
	third := <-accepted
	dial(t, l, "127.0.0.3")
	fourth := <-accepted
	wantClosed(t, oldest)
	_ = first.Close() // by who served it, when it reads that it is closed
	if got, want := l.Stats(), (Stats{Open: 3, RefusedTotal: 1, RefusedByAddr: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	_ = second.Close()
	dial(t, l, "127.0.0.1") // has one of its two again
	fifth := <-accepted
	for _, c := range []net.Conn{third, fourth, fifth} {
		_ = c.Close()
	}
	if s := l.Stats(); s.Open != 0 || len(l.from) != 0 || l.order.Len() != 0 {
		t.Errorf("%+v, %v and %d are left", s, l.from, l.order.Len())
	}
}

func TestO4_AddressesAreThoseOfCustomers(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1", "[::ffff:192.0.2.1]:5": "192.0.2.1", "[2001:db8:1:2:3::4]:5": "2001:db8:1:2::", "[fe80::1%lo]:5": "fe80::",
	} {
		if got := addressOf(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))); got.String() != want {
			t.Errorf("%s counts for %s, want %s", addr, got, want)
		}
	}
	if got := addressOf(&net.UnixAddr{}); got.IsValid() {
		t.Errorf("a socket without an address counts for %v", got)
	}
}
