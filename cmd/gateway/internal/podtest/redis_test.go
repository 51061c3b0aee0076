package podtest

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

// redisServer is a redis-server process of one test, on a port of loopback.
type redisServer struct {
	*process
	addr   string
	client *redis.Client // for what a test does behind the pods' backs
}

// startRedis starts a server that keeps nothing on disk.
func startRedis(ctx context.Context, t *testing.T) *redisServer {
	t.Helper()
	s := newRedisServer(t)
	s.start(ctx, t)
	return s
}

// newRedisServer readies a server that is not started.
func newRedisServer(t *testing.T) *redisServer {
	t.Helper()
	s := &redisServer{addr: freeAddr(t)}
	s.client = redis.NewClient(&redis.Options{Addr: s.addr, Protocol: 2, DisableIdentity: true, MaxRetries: -1, PoolSize: 2})
	t.Cleanup(func() { must(t, s.client.Close()) })
	return s
}

func (s *redisServer) start(ctx context.Context, t *testing.T) {
	t.Helper()
	host, port, err := net.SplitHostPort(s.addr)
	must(t, err)
	s.process = startProcess(t, "redis", "redis-server", nil,
		"--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	awaitSo(ctx, t, "redis answers", func() bool { return s.client.Ping(ctx).Err() == nil })
}

// restart kills it, and starts it empty.
func (s *redisServer) restart(ctx context.Context, t *testing.T) {
	t.Helper()
	s.kill()
	s.start(ctx, t)
}

// do runs one command.
func (s *redisServer) do(ctx context.Context, args ...any) any {
	s.t.Helper()
	v, err := s.client.Do(ctx, args...).Result()
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	return v
}

// proxy stands between one pod and Redis, and fails as networks do.
type proxy struct {
	t *testing.T
	*toxiproxy.Proxy
}

// startProxy starts a proxy in front of an address.
func startProxy(t *testing.T, name, upstream string) *proxy {
	t.Helper()
	p := &proxy{t, toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), name, "127.0.0.1:0", upstream)}
	must(t, p.Start())
	t.Cleanup(p.Stop)
	return p
}

// addr is where it listens.
func (p *proxy) addr() string { return p.Listen }

// toxic begins a fault, as toxiproxy's API describes it.
func (p *proxy) toxic(description string) {
	p.t.Helper()
	if _, err := p.Toxics.AddToxicJson(strings.NewReader(description)); err != nil {
		p.t.Fatalf("%s: %v", description, err)
	}
}

// lead has it stand in front of another server from now on. Connections are cut.
func (p *proxy) lead(upstream string) {
	p.t.Helper()
	must(p.t, p.Update(&toxiproxy.Proxy{Listen: p.Listen, Upstream: upstream, Enabled: true}))
}

// mend ends all faults.
func (p *proxy) mend(ctx context.Context) { p.Toxics.ResetToxics(ctx) }
