package network

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/ice/v4"
)

// TestSharedPortHasNoDeadline sets deadlines as pion's mux does when one session's candidate ends while another session writes: what is
// written then goes out, and what comes is read.
func TestSharedPortHasNoDeadline(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	w := testNetwork(t, Config{})
	s := sharedSocket{newUDPSocket(conn, 1<<16, w.overflow, nil)}
	defer s.Close()
	var _ net.PacketConn = s
	var _ ice.AddrPortReaderWriter = s
	far, farAt := stranger(t)
	for _, set := range []func(time.Time) error{s.SetDeadline, s.SetReadDeadline, s.SetWriteDeadline} {
		if err := set(time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.WriteTo([]byte("feedback"), net.UDPAddrFromAddrPort(farAt)); err != nil {
			t.Fatal(err)
		}
		if err := far.SetReadDeadline(time.Now().Add(hang)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		if n, _, err := far.ReadFromUDPAddrPort(b); err != nil || string(b[:n]) != "feedback" {
			t.Fatalf("%q, %v", b[:n], err)
		}
		send(t, far, s.LocalAddr(), "media")
		n, from, err := s.ReadFromAddrPort(b)
		if err != nil || string(b[:n]) != "media" || netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) != farAt {
			t.Fatalf("%q from %v, %v", b[:n], from, err)
		}
	}
}
