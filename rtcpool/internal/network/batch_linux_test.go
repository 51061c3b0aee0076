//go:build amd64 || arm64

package network

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// denseSocket is a socket of which packets are read in batches, and one that sends to it.
func denseSocket(t *testing.T, w *Network) (*hostSocket, net.Conn) {
	t.Helper()
	n := w.NewPeer(t.Context(), nil)
	t.Cleanup(n.Leave)
	c, err := n.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := c.(*hostSocket)
	s.batch = newBatch(s.UDPConn)
	s.flow.dense = true
	if s.batch == nil {
		t.Fatal("packets cannot be read in batches")
	}
	to, err := net.Dial("udp4", s.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = to.Close() })
	if err := s.SetReadDeadline(time.Now().Add(hang)); err != nil {
		t.Fatal(err)
	}
	return s, to
}

// What comes densely is read whole, in order, with its sender, and so is what comes after; deadlines and the end are heeded.
func TestDenseFlowIsReadInBatches(t *testing.T) {
	s, to := denseSocket(t, testNetwork(t, Config{SocketReceiveBuffer: 1 << 20}))
	from := netip.MustParseAddrPort(to.LocalAddr().String())
	buffer := make([]byte, ReceiveMTU)
	for round, sizes := range [][]int{{4, 600, 4, 100}, {2048, 1200, 5}, make([]int, 3*16)} {
		for i, size := range sizes {
			packet := make([]byte, max(size, 4))
			packet[0] = 128 // not STUN
			binary.BigEndian.PutUint16(packet[2:], uint16(i))
			if _, err := to.Write(packet); err != nil {
				t.Fatal(err)
			}
		}
		for i, size := range sizes {
			n, sender, err := s.ReadFromAddrPort(buffer)
			if err != nil || n != max(size, 4) || binary.BigEndian.Uint16(buffer[2:]) != uint16(i) || sender != from {
				t.Fatalf("round %d, packet %d: %d bytes, number %d, of %v, %v", round, i, n, binary.BigEndian.Uint16(buffer[2:]), sender, err)
			}
		}
	}
	if err := s.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, dense := range []bool{true, false} {
		s.flow.dense = dense
		if _, _, err := s.ReadFromAddrPort(buffer); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the deadline: %v", err)
		}
	}
	if err := s.udpSocket.Close(); err != nil {
		t.Fatal(err)
	}
	s.flow.dense = true
	if _, _, err := s.ReadFromAddrPort(buffer); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// A flow becomes dense by itself, and thin again when nothing more comes: the reader then waits.
func TestFlowOfASocketBecomesDenseAndThin(t *testing.T) {
	s, to := denseSocket(t, testNetwork(t, Config{SocketReceiveBuffer: 1 << 20}))
	s.flow, s.batch = flow{}, nil
	stop := make(chan struct{})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		beat := time.NewTicker(time.Millisecond)
		defer beat.Stop()
		for {
			if _, err := to.Write([]byte{128, 1, 2, 3}); err != nil {
				return
			}
			select {
			case <-stop:
				return
			case <-beat.C:
			}
		}
	}()
	buffer := make([]byte, ReceiveMTU)
	for !s.flow.dense {
		if _, _, err := s.ReadFromAddrPort(buffer); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 { // in batches now
		if _, _, err := s.ReadFromAddrPort(buffer); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-sent
	if err := s.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, _, err := s.ReadFromAddrPort(buffer); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			break
		}
	}
	if s.flow.empty > emptyTicks {
		t.Errorf("%d ticks have found nothing, and it still looks", s.flow.empty)
	}
}

// The kernel's count of what it dropped comes with a batch too.
func TestSocketOverflowIsCountedInBatches(t *testing.T) {
	w := testNetwork(t, Config{SocketReceiveBuffer: 4096})
	s, to := denseSocket(t, w)
	const sent = 200
	for range sent {
		if _, err := to.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, ReceiveMTU)
	read := 0
	next := func() int {
		s.flow.dense = true // large packets end it
		n, _, err := s.ReadFromAddrPort(b)
		if err != nil {
			t.Fatal(err)
		}
		read++
		return n
	}
	next()
	if _, err := to.Write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	for next() != 4 {
	}
	if got := w.Stats().SocketOverflows; got != uint64(sent+1-read) || got == 0 {
		t.Errorf("%d overflows of %d sent and %d read", got, sent+1, read)
	}
}
