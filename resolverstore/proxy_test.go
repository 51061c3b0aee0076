package resolverstore

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxy stands between a store and its server, and fails as networks do.
type proxy struct {
	t      testing.TB
	target string
	l      net.Listener
	work   sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	refuse  bool
	delay   time.Duration // of each answer
	stalled chan struct{} // not nil while what the server says is held back; closed to go on
}

func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, target: target, l: l, conns: map[net.Conn]struct{}{}}
	p.work.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.flow()
		p.cut(true)
		p.work.Wait()
	})
	return p
}

func (p *proxy) options() RedisOptions { return RedisOptions{URL: "redis://" + p.l.Addr().String()} }

func (p *proxy) accept() {
	for {
		in, err := p.l.Accept()
		if err != nil {
			return
		}
		network := "tcp"
		if strings.HasPrefix(p.target, "/") {
			network = "unix"
		}
		out, err := new(net.Dialer).DialContext(context.Background(), network, p.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		refuse := p.refuse
		p.conns[in], p.conns[out] = struct{}{}, struct{}{}
		p.mu.Unlock()
		if refuse {
			p.drop(in, out)
			continue
		}
		p.work.Go(func() { p.copy(out, in, false) })
		p.work.Go(func() { p.copy(in, out, true) })
	}
}

// copy hands on what one side says, until either hangs up.
func (p *proxy) copy(to, from net.Conn, answers bool) {
	defer p.drop(to, from)
	buf := make([]byte, 32<<10)
	for {
		if answers {
			p.wait(0)
		}
		n, err := from.Read(buf)
		if answers {
			p.mu.Lock()
			delay := p.delay
			p.mu.Unlock()
			p.wait(delay)
		}
		if _, e := to.Write(buf[:n]); e != nil || err != nil {
			return
		}
	}
}

func (p *proxy) wait(delay time.Duration) {
	p.mu.Lock()
	stalled := p.stalled
	p.mu.Unlock()
	time.Sleep(delay)
	if stalled != nil {
		<-stalled
	}
}

func (p *proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

// cut breaks every connection; refuse says whether new ones are broken too, until mend.
func (p *proxy) cut(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = false
}

// stall holds back what the server says, until flow.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled == nil {
		p.stalled = make(chan struct{})
	}
}

// slow has what the server says take longer.
func (p *proxy) slow(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

func (p *proxy) flow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled != nil {
		close(p.stalled)
		p.stalled = nil
	}
}
