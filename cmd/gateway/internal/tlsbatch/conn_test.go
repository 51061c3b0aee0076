package tlsbatch

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
)

// socket is a connection that counts what is written to it, and breaks when it is told to.
type socket struct {
	net.Conn
	writes, bytes atomic.Int64
	last          atomic.Int64  // the first byte of the last write, which is the type of its first record
	breaks        atomic.Int64  // how many further bytes it takes before every write fails; 0 is any number
	stuck         chan struct{} // where it is not nil, the next write is told here, and goes on only when the socket is closed
	closed        chan struct{} // is closed by Close; nil where nobody waits for that
}

var errBroken = errors.New("the socket broke")

// Write implements net.Conn.
func (s *socket) Write(b []byte) (int, error) {
	s.writes.Add(1)
	s.last.Store(int64(b[0]))
	if s.stuck != nil {
		close(s.stuck)
		<-s.closed
	}
	left := s.breaks.Load()
	if left > 0 && int64(len(b)) >= left {
		b = b[:left-1]
	}
	n, err := s.Conn.Write(b)
	s.bytes.Add(int64(n))
	if left > 0 {
		if s.breaks.Add(-int64(n)) <= 1 {
			err = errBroken
		}
	}
	return n, err
}

// Close implements net.Conn.
func (s *socket) Close() error {
	if s.closed != nil {
		close(s.closed)
	}
	return s.Conn.Close()
}

// pair returns a connection of ours, over TLS of a version, whose socket is counted, and its peer, which is crypto/tls and nothing else. The handshake is over.
func pair(t testing.TB, version uint16, serves bool) (ours net.Conn, below *socket, peer *tls.Conn, info credentials.TLSInfo) {
	t.Helper()
	server, client := configs(t)
	client.MaxVersion = version
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	far, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	must(t, err)
	t.Cleanup(func() { _ = far.Close() })
	near, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { _ = near.Close() })
	for _, c := range []net.Conn{far, near} {
		must(t, c.SetDeadline(time.Now().Add(hang)))
	}
	below = &socket{Conn: near}
	done := make(chan error, 1)
	var auth credentials.AuthInfo
	if serves {
		peer = tls.Client(far, client)
		go func() { done <- peer.HandshakeContext(t.Context()) }()
		ours, auth, err = Credentials(credentials.NewTLS(server)).ServerHandshake(below)
	} else {
		peer = tls.Server(far, server)
		go func() { done <- peer.HandshakeContext(t.Context()) }()
		ours, auth, err = Credentials(credentials.NewTLS(client)).ClientHandshake(t.Context(), "127.0.0.1:1", below)
	}
	must(t, err)
	must(t, <-done)
	return ours, below, peer, auth.(credentials.TLSInfo)
}

// content is bytes that nothing repeats.
func content(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b) // never fails
	return b
}

// TestX11_TheRecordsOfOneWriteGoOutTogether: a Write of 16 records is one system call, a small one is one too; when a Write returns, all of it comes at the peer without another one,
// whatever its size, and connections keep no buffer. The certificate and the protocol are told as ever.
func TestX11_TheRecordsOfOneWriteGoOutTogether(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, serves := range []bool{true, false} {
			ours, below, peer, info := pair(t, version, serves)
			if info.State.NegotiatedProtocol != "h2" || len(info.State.PeerCertificates) != 1 || info.State.Version != version || info.SecurityLevel != credentials.PrivacyAndIntegrity {
				t.Errorf("the credentials tell %+v", info)
			}
			exchange := func(n int) (writes int64) {
				t.Helper()
				b, before := content(n), below.writes.Load()
				got := make(chan []byte, 1)
				go func() {
					b := make([]byte, n)
					_, err := io.ReadFull(peer, b)
					if err != nil {
						b = nil
					}
					got <- b
				}()
				if wrote, err := ours.Write(b); wrote != n || err != nil {
					t.Fatalf("%d of %d bytes were written: %v", wrote, n, err)
				}
				if !bytes.Equal(<-got, b) {
					t.Fatalf("another content of %d bytes came", n)
				}
				return below.writes.Load() - before
			}
			exchange(1 << 20) // Records begin small, and grow.
			for _, c := range []struct {
				size   int
				writes int64
			}{{1, 1}, {oneRecord, 1}, {oneRecord + 1, 1}, {256 << 10, 1}, {1 << 20, 4}, {1, 1}} {
				if writes := exchange(c.size); writes != c.writes {
					t.Errorf("%s, serves %v: %d bytes took %d writes, want %d", tls.VersionName(version), serves, c.size, writes, c.writes)
				}
			}
			for range 100 {
				exchange(1 + rand.IntN(1<<rand.IntN(21)))
			}
			if c := ours.(*conn); c.below.held != nil {
				t.Error("a connection that writes nothing keeps a buffer")
			}
		}
	}
}

// TestX11_WritesOfManyDoNotMix: Writes of several goroutines, large and small, come whole, each goroutine's in its order, and what comes the other way comes too.
func TestX11_WritesOfManyDoNotMix(t *testing.T) {
	const writers, rounds = 4, 40
	ours, _, peer, _ := pair(t, tls.VersionTLS13, true)
	var work sync.WaitGroup
	work.Go(func() { _, _ = io.Copy(io.Discard, ours) })
	for w := range writers {
		work.Go(func() {
			for i := range rounds {
				b := content(1 + (i*7919+w*104729)%(100<<10))
				if _, err := ours.Write(append(binary.BigEndian.AppendUint32([]byte{byte(w), byte(i)}, uint32(len(b))), b...)); err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	var next [writers]int
	for range writers * rounds {
		head := make([]byte, 6)
		if _, err := io.ReadFull(peer, head); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, binary.BigEndian.Uint32(head[2:]))
		if _, err := io.ReadFull(peer, b); err != nil {
			t.Fatal(err)
		}
		if int(head[0]) >= writers || int(head[1]) != next[head[0]] || !bytes.Equal(b, content(len(b))) {
			t.Fatalf("writer %d's write %d came, of %d bytes; %v were to come", head[0], head[1], len(b), next)
		}
		next[head[0]]++
		if _, err := peer.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	must(t, peer.Close())
	work.Wait()
}

// TestX11_AFailedWriteIsTheLast: where the socket fails, in the middle of what was gathered or at its first byte, the Write fails, and so does every further one, with the same error and without a byte of it at the socket.
func TestX11_AFailedWriteIsTheLast(t *testing.T) {
	for _, at := range []int64{1, 2, 20_000, 300_000, 600_000} {
		ours, below, peer, _ := pair(t, tls.VersionTLS13, true)
		var reading sync.WaitGroup
		reading.Go(func() { _, _ = io.Copy(io.Discard, peer) })
		below.breaks.Store(at)
		if n, err := ours.Write(content(1 << 20)); n != 0 || !errors.Is(err, errBroken) {
			t.Errorf("broken at %d: Write returned %d, %v", at, n, err)
		}
		before := below.bytes.Load()
		below.breaks.Store(0) // as if it worked again
		for _, size := range []int{1, 100_000} {
			if n, err := ours.Write(content(size)); n != 0 || !errors.Is(err, errBroken) {
				t.Errorf("broken at %d: the next Write, of %d, returned %d, %v", at, size, n, err)
			}
		}
		if after := below.bytes.Load(); after != before {
			t.Errorf("broken at %d: %d further bytes were sent", at, after-before)
		}
		_ = ours.Close() // its socket is broken
		reading.Wait()
	}
}

// TestX11_ADeadlineEndsAWrite: a Write that a peer does not read ends at its deadline, and what was cut off is never gone on with.
func TestX11_ADeadlineEndsAWrite(t *testing.T) {
	ours, below, _, _ := pair(t, tls.VersionTLS13, true)
	must(t, ours.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
	if n, err := ours.Write(make([]byte, 64<<20)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write returned %d, %v", n, err)
	}
	before := below.bytes.Load()
	must(t, ours.SetWriteDeadline(time.Time{}))
	if _, err := ours.Write([]byte("x")); err == nil || below.bytes.Load() != before {
		t.Errorf("the next Write returned %v, and sent %d bytes", err, below.bytes.Load()-before)
	}
}

// TestX11_CloseEndsAWrite: Close does not wait for a Write that the peer does not read, until a deadline say; it ends it. Where nothing is written the peer is told of the end.
func TestX11_CloseEndsAWrite(t *testing.T) {
	ours, below, peer, _ := pair(t, tls.VersionTLS12, true) // The type of its records is in the clear.
	below.stuck, below.closed = make(chan struct{}), make(chan struct{})
	failed, closed := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := ours.Write(make([]byte, 200_000)) // which goes to the socket when TLS is through with it
		failed <- err
	}()
	<-below.stuck
	go func() { closed <- ours.Close() }()
	for name, ended := range map[string]chan error{"Close": closed, "the Write": failed} {
		select {
		case err := <-ended:
			if name == "Close" && err != nil || name != "Close" && !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s returned %v", name, err)
			}
		case <-time.After(hang):
			t.Fatalf("%s goes on", name)
		}
	}
	const alert, data = 21, 23
	if last := below.last.Load(); last != data {
		t.Errorf("a record of type %d was the last", last)
	}
	_ = peer.Close()

	ours, below, peer, _ = pair(t, tls.VersionTLS12, true)
	must(t, ours.Close())
	if last := below.last.Load(); last != alert {
		t.Errorf("a record of type %d was the last, want an alert", last)
	}
	if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the peer reads %v", err)
	}
	for _, size := range []int{1, 100_000} {
		if _, err := ours.Write(make([]byte, size)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a Write of %d after Close: %v", size, err)
		}
	}
	if err := ours.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Close again: %v", err)
	}
}

// TestX11_AHalfClosedPeerGetsTheRest: a peer that has said that it sends nothing more is still written to.
func TestX11_AHalfClosedPeerGetsTheRest(t *testing.T) {
	ours, _, peer, _ := pair(t, tls.VersionTLS13, false)
	must(t, peer.CloseWrite())
	if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("Read returned %v", err)
	}
	b := content(500_000)
	var writing sync.WaitGroup
	writing.Go(func() {
		if _, err := ours.Write(b); err != nil {
			t.Errorf("Write: %v", err)
		}
		_ = ours.Close()
	})
	got, err := io.ReadAll(peer)
	if !bytes.Equal(got, b) || err != nil {
		t.Errorf("%d bytes came, %v", len(got), err)
	}
	writing.Wait()
}

// TestX11_ADeadPeerIsAnError: writing to a peer whose socket is gone ends with an error, not with silence.
func TestX11_ADeadPeerIsAnError(t *testing.T) {
	ours, _, peer, _ := pair(t, tls.VersionTLS13, true)
	must(t, peer.NetConn().(*net.TCPConn).SetLinger(0))
	must(t, peer.NetConn().Close())
	for deadline := time.Now().Add(hang); ; {
		if _, err := ours.Write(make([]byte, 100_000)); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("Writes to nobody succeed")
		}
	}
}

// TestX11_FailedHandshakesStayErrors: who does not speak TLS, or gives up, gets no connection.
func TestX11_FailedHandshakesStayErrors(t *testing.T) {
	server, client := configs(t)
	creds := Credentials(credentials.NewTLS(server))
	near, far := net.Pipe()
	var work sync.WaitGroup
	work.Go(func() {
		_, _ = far.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		_, _ = io.Copy(io.Discard, far)
		_ = far.Close()
	})
	if c, info, err := creds.ServerHandshake(near); c != nil || info != nil || err == nil {
		t.Errorf("ServerHandshake returned %v, %v, %v", c, info, err)
	}
	_ = near.Close()
	work.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	near, far = net.Pipe()
	defer func() { _ = far.Close() }()
	if c, info, err := Credentials(credentials.NewTLS(client)).Clone().ClientHandshake(ctx, "127.0.0.1:1", near); c != nil || info != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("ClientHandshake returned %v, %v, %v", c, info, err)
	}
}
