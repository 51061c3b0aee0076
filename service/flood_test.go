package service

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// attacker is a connection that speaks HTTP/2 by hand.
type attacker struct {
	t      *testing.T
	conn   net.Conn
	out    *bufio.Writer // of frames, which go out together
	frames *http2.Framer
	block  bytes.Buffer
	hpack  *hpack.Encoder
	seen   chan http2.Frame // what the server sends, as far as there is room
	gone   chan struct{}    // closed when the server has closed the connection
}

// attack connects, shakes hands unless it is not to, and reads on until the end. The connection ends with the test.
func (g *gateway) attack(shake bool) *attacker {
	g.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(g.ctx, "tcp", g.addr)
	must(g.t, err)
	must(g.t, conn.SetDeadline(time.Now().Add(hang)))
	a := &attacker{t: g.t, conn: conn, out: bufio.NewWriterSize(conn, 64<<10), seen: make(chan http2.Frame, 1024), gone: make(chan struct{})}
	a.hpack, a.frames = hpack.NewEncoder(&a.block), http2.NewFramer(a.out, conn)
	if shake {
		_, err := io.WriteString(conn, http2.ClientPreface)
		must(g.t, err)
		must(g.t, a.frames.WriteSettings())
		must(g.t, a.out.Flush())
	}
	go a.read()
	g.t.Cleanup(func() {
		_ = conn.Close() // the server may have
		<-a.gone
	})
	return a
}

// read keeps the server from blocking, and notes what it sends.
func (a *attacker) read() {
	defer close(a.gone)
	for {
		f, err := a.frames.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.RSTStreamFrame, *http2.GoAwayFrame, *http2.MetaHeadersFrame, *http2.HeadersFrame:
			select {
			case a.seen <- f:
			default:
			}
		}
	}
}

// header returns the block of a call's header, with further fields.
func (a *attacker) header(method string, more ...hpack.HeaderField) []byte {
	a.block.Reset()
	fields := append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: method}, {Name: ":authority", Value: "gateway"},
		{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
	}, more...)
	for _, f := range fields {
		must(a.t, a.hpack.WriteField(f))
	}
	return bytes.Clone(a.block.Bytes())
}

// wantClosed waits until the server has closed the connection.
func (a *attacker) wantClosed(what string) {
	a.t.Helper()
	select {
	case <-a.gone:
	case <-time.After(hang):
		a.t.Fatalf("%s: the connection stays open", what)
	}
}

// goesOn tells whether the server is still there, so that more can be sent.
func (a *attacker) goesOn() bool {
	select {
	case <-a.gone:
		return false
	default:
		return true
	}
}

// served makes calls of another client while the attack goes on, until it is over, and 5 at least.
func (g *gateway) served(over <-chan struct{}) {
	g.t.Helper()
	calls := 0
	for ; ; calls++ {
		g.session("call")
		select {
		case <-over:
			if calls >= 5 {
				return
			}
		default:
		}
	}
}

// heap returns what lives in Go's heap, in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what finalizers let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // less than an exabyte
}

// during runs an attack, in which another client is served, and finds no more memory taken than bound.
func (g *gateway) during(bound int64, attack func()) {
	g.t.Helper()
	before := heap()
	over := make(chan struct{})
	var working sync.WaitGroup
	working.Go(func() {
		defer close(over)
		attack()
	})
	g.served(over)
	working.Wait()
	end := time.Now().Add(hang)
	for grown := heap() - before; grown > bound; grown = heap() - before { // calls that were reset are about to end
		if time.Now().After(end) {
			g.t.Fatalf("the heap has grown by %d bytes, more than %d", grown, bound)
		}
	}
}

// floodMemory is what an attack may take while its connection is open, in bytes: buffers of connections, and calls that are about to end.
const floodMemory = 48 << 20

// TestO4_RapidReset begins calls and resets them at once, as fast as the line takes it: another client is served, handlers stay bounded, and nothing is left.
func TestO4_RapidReset(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	g.during(floodMemory, func() {
		var working sync.WaitGroup
		for range 3 {
			working.Go(func() {
				a := g.attack(true)
				block := a.header(penstockv1.SessionService_GetSession_FullMethodName)
				for i := range uint32(10_000) {
					id := 2*i + 1
					err := errors.Join(a.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true}),
						a.frames.WriteRSTStream(id, http2.ErrCodeCancel))
					if err != nil { // it was thrown out
						return
					}
				}
				_ = a.out.Flush() // as above
			})
		}
		working.Wait()
		if n := runtime.NumGoroutine(); n > 3*DefaultConnectionStreams+1000 {
			t.Errorf("%d goroutines", n)
		}
	})
	g.idle()
}

// TestO4_CallsOfAConnection begins more calls on one connection than it may have: the others are refused, as HTTP/2 has it, and another client is served.
func TestO4_CallsOfAConnection(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Limits.ConnectionStreams = MinConnectionStreams })
	g.create("call")
	a := g.attack(true)
	const more = 40
	for i := range uint32(MinConnectionStreams + more) {
		must(t, a.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: a.header(penstockv1.SessionService_GetSession_FullMethodName), EndHeaders: true}))
	}
	must(t, a.out.Flush())
	for refused := 0; refused < more; {
		select {
		case f := <-a.seen:
			if reset, ok := f.(*http2.RSTStreamFrame); ok && reset.ErrCode == http2.ErrCodeRefusedStream {
				refused++
			}
		case <-a.gone:
			t.Fatal("the connection was closed")
		case <-g.ctx.Done():
			t.Fatalf("%d were refused", refused)
		}
	}
	g.session("call")
}

// TestO4_FramesWithoutEnd floods with frames that the server has to answer, or to remember: it answers no more than it can send, or closes the connection.
func TestO4_FramesWithoutEnd(t *testing.T) {
	for name, flood := range map[string]struct {
		frame  func(a *attacker, i int) error
		closes bool
	}{
		"ping": {func(a *attacker, i int) error { return a.frames.WritePing(false, [8]byte{byte(i)}) }, true},
		"settings": {func(a *attacker, _ int) error {
			return a.frames.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
		}, false},
		"priority": {func(a *attacker, i int) error {
			return a.frames.WritePriority(uint32(2*i+1), http2.PriorityParam{Weight: 1}) //nolint:gosec // small
		}, false},
		"window":  {func(a *attacker, _ int) error { return a.frames.WriteWindowUpdate(0, 1) }, false},
		"unknown": {func(a *attacker, _ int) error { return a.frames.WriteRawFrame(0xf0, 0, 0, make([]byte, 100)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t)
			g.create("call")
			g.during(floodMemory, func() {
				a := g.attack(true)
				for i := 0; i < 50_000 && a.goesOn(); i++ {
					if flood.frame(a, i) != nil {
						break
					}
				}
				_ = a.out.Flush() // it may have been thrown out
				if flood.closes {
					a.wantClosed(name)
				}
			})
		})
	}
}

// TestO4_AnswersThatNobodyReads floods with settings and never reads: the server stops to read, and holds no more than a few answers.
func TestO4_AnswersThatNobodyReads(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	conn, err := (&net.Dialer{}).DialContext(g.ctx, "tcp", g.addr)
	must(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, http2.ClientPreface)
	must(t, err)
	frames := http2.NewFramer(conn, conn)
	must(t, frames.WriteSettings())
	var one bytes.Buffer
	must(t, http2.NewFramer(&one, nil).WriteSettings())
	many := bytes.Repeat(one.Bytes(), 7000)
	g.during(floodMemory, func() {
		for range 1000 { // 63 MB, far more than the buffers of the line hold
			must(t, conn.SetWriteDeadline(time.Now().Add(time.Second)))
			if _, err := conn.Write(many); err != nil {
				return // the line is full, or was cut
			}
		}
		t.Error("all was read")
	})
}

// TestO4_HeadersWithoutEnd sends headers that are too large by far, plain, by reference to one field again and again, and in pieces without end.
func TestO4_HeadersWithoutEnd(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	method := penstockv1.SessionService_GetSession_FullMethodName
	t.Run("plain", func(t *testing.T) {
		g.during(floodMemory, func() {
			for range 5 {
				a := g.attack(true)
				block := a.header(method, hpack.HeaderField{Name: "x", Value: strings.Repeat("x", 1<<20), Sensitive: true})
				first := true
				for len(block) > 0 && a.goesOn() {
					n := min(len(block), 16<<10)
					var err error
					if end := n == len(block); first {
						err = a.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:n], EndHeaders: end, EndStream: true})
					} else {
						err = a.frames.WriteContinuation(1, end, block[:n])
					}
					if block, first = block[n:], false; err != nil {
						break
					}
				}
				_ = a.out.Flush() // it may have been thrown out
				a.wantRefused()
				a.block, a.hpack = bytes.Buffer{}, nil // the test's own memory
			}
		})
	})
	t.Run("references", func(t *testing.T) {
		g.during(floodMemory, func() {
			a := g.attack(true)
			block := a.header(method, hpack.HeaderField{Name: "x", Value: strings.Repeat("x", 3000)})
			again := []byte{0x80 | 62} // the field that was added last
			block = append(block, bytes.Repeat(again, 16<<10-len(block))...)
			if err := a.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true, EndStream: true}); err == nil {
				must(t, a.out.Flush())
				a.wantRefused() // 13,000 times 3,000 bytes
			}
		})
	})
	t.Run("pieces", func(t *testing.T) {
		g.during(floodMemory, func() {
			a := g.attack(true)
			err := a.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.header(method)})
			for i := 0; err == nil && i < 50_000; i++ { // 50 MB
				a.block.Reset()
				must(t, a.hpack.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("x", 1000), Sensitive: true}))
				err = a.frames.WriteContinuation(1, false, a.block.Bytes())
			}
			_ = a.out.Flush() // it was thrown out
			a.wantClosed("a header without end")
		})
	})
}

// wantRefused waits until the server has reset the stream, answered it with a status, or closed the connection.
func (a *attacker) wantRefused() {
	a.t.Helper()
	select {
	case <-a.seen:
	case <-a.gone:
	case <-time.After(hang):
		a.t.Error("nothing is refused")
	}
}

// TestO4_SlowLoris holds connections and calls without finishing what was begun: each is ended in its time, and another client is served.
func TestO4_SlowLoris(t *testing.T) {
	g := startGateway(t, func(c *Config) {
		// Long enough for the other client on a busy machine.
		c.Limits.HandshakeTimeout, c.PingInterval, c.PingTimeout = 4*time.Second, time.Second, 4*time.Second
	})
	g.create("call")
	var attackers sync.WaitGroup
	for name, begin := range map[string]func() *attacker{
		"nothing": func() *attacker { return g.attack(false) },
		"half a preface": func() *attacker {
			a := g.attack(false)
			_, err := io.WriteString(a.conn, http2.ClientPreface[:10])
			must(t, err)
			return a
		},
		"no settings": func() *attacker {
			a := g.attack(false)
			_, err := io.WriteString(a.conn, http2.ClientPreface)
			must(t, err)
			return a
		},
		"half a frame": func() *attacker {
			a := g.attack(true)
			_, err := a.conn.Write([]byte{0, 0, 8, 6})
			must(t, err)
			return a
		},
		"half a header": func() *attacker {
			a := g.attack(true)
			must(t, a.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.header("/x")}))
			must(t, a.out.Flush())
			return a
		},
	} {
		attackers.Go(func() { begin().wantClosed(name) })
	}
	over := make(chan struct{})
	go func() {
		attackers.Wait()
		close(over)
	}()
	g.served(over)
}

// TestO4_HalfAMessage begins calls and sends half of their message, by every method: each is ended, and its place is free.
func TestO4_HalfAMessage(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Limits.RequestTimeout = 2 * time.Second })
	g.create("call")
	a := g.attack(true)
	half := binary.BigEndian.AppendUint32([]byte{0}, 1000)
	half = append(half, make([]byte, 500)...)
	methods := []string{
		penstockv1.SessionService_GetSession_FullMethodName, penstockv1.SessionService_Negotiate_FullMethodName,
		penstockv1.TrackService_StreamTrack_FullMethodName, penstockv1.TrackService_WatchTracks_FullMethodName, "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch",
	}
	for i, method := range methods {
		id := uint32(2*i + 1) //nolint:gosec // few
		must(t, a.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: a.header(method), EndHeaders: true}))
		must(t, a.frames.WriteData(id, false, half))
	}
	must(t, a.out.Flush())
	for g.refused(limitFirstMessage) < uint64(len(methods)) {
		mustTick(t, g)
	}
	for range methods {
		a.wantRefused() // by trailers
	}
	g.idle()
	g.session("call")
}
