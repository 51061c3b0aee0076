package network

import (
	"net"
	"net/netip"
	"testing"
)

// Packets that nobody read in time are told by the kernel, and counted.
func TestSocketOverflowIsCounted(t *testing.T) {
	w := testNetwork(t, Config{SocketReceiveBuffer: 4096})
	n := w.NewPeer(t.Context(), nil)
	defer n.Leave()
	c, err := n.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := c.(*hostSocket)
	to, err := net.Dial("udp4", s.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	const sent = 200
	for range sent {
		if _, err := to.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	// The count comes with what is sent after the drop: read until there is room, then send one more.
	b := make([]byte, 2000)
	if _, _, err := s.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	if _, err := to.Write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	read := 1
	for n := 0; n != 4; read++ {
		if n, _, err = s.ReadFrom(b); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.Stats().SocketOverflows; got != uint64(sent+1-read) || got == 0 {
		t.Errorf("%d overflows of %d sent and %d read", got, sent+1, read)
	}
}

func TestReceiveBufferIsGranted(t *testing.T) {
	w := testNetwork(t, Config{SocketReceiveBuffer: 100 << 10})
	n := w.NewPeer(t.Context(), nil)
	defer n.Leave()
	c, err := n.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	if got := receiveBufferOf(c.(*hostSocket).UDPConn); got != 100<<10 {
		t.Errorf("%d bytes granted, want what was asked for", got)
	}
}
