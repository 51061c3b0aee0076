package service

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
)

// cable forwards TCP connections to the gateway, until it is cut: then nothing comes through any more, no FIN and no RST either.
type cable struct {
	listener net.Listener
	to       string
	cut      chan struct{}
	work     sync.WaitGroup
	mu       sync.Mutex
	open     []net.Conn
}

// lay returns a cable to the gateway, which ends with the test.
func (g *gateway) lay() *cable {
	g.t.Helper()
	l, err := new(net.ListenConfig).Listen(g.ctx, "tcp", "127.0.0.1:0")
	must(g.t, err)
	c := &cable{listener: l, to: g.addr, cut: make(chan struct{})}
	c.work.Go(c.accept)
	g.t.Cleanup(func() {
		_ = l.Close()
		c.mu.Lock()
		for _, conn := range c.open {
			_ = conn.Close()
		}
		c.mu.Unlock()
		c.work.Wait()
	})
	return c
}

// accept joins each connection with one to the gateway.
func (c *cable) accept() {
	for {
		near, err := c.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", c.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		c.mu.Lock()
		c.open = append(c.open, near, far)
		c.mu.Unlock()
		c.work.Go(func() { c.forward(far, near) })
		c.work.Go(func() { c.forward(near, far) })
	}
}

// forward copies one way until the cable is cut, and closes nothing.
func (c *cable) forward(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-c.cut:
			continue // read, and lost
		default:
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// TestF16_VanishedWorkerIsFound lets a worker vanish without FIN while its track is muted, so that nothing is sent: the ping that is not answered
// ends its stream.
func TestF16_VanishedWorkerIsFound(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.PingInterval, c.PingTimeout = time.Second, 3*time.Second })
	sfu, cam := g.call("call")
	cable := g.lay()
	conn, err := grpc.NewClient(cable.listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(largeMessage)))
	must(t, err)
	defer func() { must(t, conn.Close()) }()
	ctx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	s, err := penstockv1.NewTrackServiceClient(conn).StreamTrack(ctx, &penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera)})
	must(t, err)
	r := &reader{t, s, cancel}
	r.video()
	must(t, sfu.Mute(g.ctx, cam, true))
	r.event(func(e *penstockv1.StreamEvent) bool { return e.GetPaused() != nil })
	m, ok := g.svc.session(key("call")).media(g.resolved("call"))
	if !ok || m.Stats().Consumers != 1 {
		t.Fatalf("%+v", m.Stats())
	}
	close(cable.cut)
	g.await(func() bool { return m.Stats().Consumers == 0 && g.svc.streams.n.Load() == 0 })
}

// pinger is an HTTP/2 client that pings.
type pinger struct {
	conn   net.Conn
	framer *http2.Framer
	read   sync.WaitGroup
	mu     sync.Mutex
	acks   int
	away   error
}

// receive reads frames until the connection ends.
func (p *pinger) receive() {
	for {
		f, err := p.framer.ReadFrame()
		if err != nil {
			return
		}
		p.mu.Lock()
		switch f := f.(type) {
		case *http2.PingFrame:
			if f.IsAck() {
				p.acks++
			}
		case *http2.GoAwayFrame:
			p.away = errors.New(f.ErrCode.String() + " " + string(f.DebugData()))
		}
		p.mu.Unlock()
	}
}

// watchHealth opens a stream on which nothing is sent after the first message: as quiet as one of a track that is paused.
func (p *pinger) watchHealth() error {
	var block writerTo
	enc := hpack.NewEncoder(&block)
	for _, h := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", "/grpc.health.v1.Health/Watch"}, {":authority", "gateway"},
		{"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		if err := enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
			return err
		}
	}
	if err := p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true}); err != nil {
		return err
	}
	return p.framer.WriteData(1, true, make([]byte, 5)) // an empty message
}

// writerTo is a growing slice.
type writerTo []byte

// Write implements io.Writer.
func (w *writerTo) Write(b []byte) (int, error) {
	*w = append(*w, b...)
	return len(b), nil
}

// TestF16_PythonsKeepaliveIsNoOffence pings as gRPC for Python does with what its documentation and examples set at the most, 10 s and 8 s, and as often as
// is allowed, for an hour of a simulated clock: with a quiet stream, and without any. No GOAWAY is ever the answer.
func TestF16_PythonsKeepaliveIsNoOffence(t *testing.T) {
	for _, c := range []struct {
		every  time.Duration
		stream bool
	}{{20 * time.Second, true}, {10 * time.Second, false}, {8 * time.Second, true}, {8 * time.Second, false}, {minClientPing, true}} {
		synctest.Test(t, func(t *testing.T) {
			decoders := media.NewDecodePool(1)
			log := slog.New(slog.DiscardHandler)
			pool, err := rtcpool.New(rtcpool.Config{Decoders: decoders, Logger: log, Tracer: noop.NewTracerProvider().Tracer("")})
			must(t, err)
			store := resolverstore.NewMemory(resolverstore.Config{Logger: log})
			svc, err := New(Config{Pool: pool, Store: store, Logger: log, Owner: "test"})
			must(t, err)
			server := svc.NewServer()
			listener := newPipes()
			stop := serving(t, server, listener)

			p := &pinger{conn: listener.dial()}
			p.framer = http2.NewFramer(p.conn, p.conn)
			p.framer.AllowIllegalReads = true
			p.read.Go(p.receive)
			_, err = io.WriteString(p.conn, http2.ClientPreface)
			must(t, err)
			must(t, p.framer.WriteSettings())
			must(t, p.framer.WriteSettingsAck())
			if c.stream {
				must(t, p.watchHealth())
			}
			pings := int(time.Hour / c.every)
			for range pings {
				time.Sleep(c.every)
				if err := p.framer.WritePing(false, [8]byte{1}); err != nil {
					break
				}
			}
			synctest.Wait()
			p.mu.Lock()
			if p.away != nil || p.acks != pings {
				t.Errorf("every %v, stream %v: %d of %d pings answered, then %v", c.every, c.stream, p.acks, pings, p.away)
			}
			p.mu.Unlock()
			must(t, p.conn.Close())
			p.read.Wait()
			svc.Close()
			stop()
			must(t, pool.Close(context.Background()))
			must(t, store.Close())
			decoders.Close()
		})
	}
}

// pipes is a listener whose connections are in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// Accept implements net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// Addr implements net.Listener.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "pipe"} }
