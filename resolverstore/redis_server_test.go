package resolverstore

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisServer is a redis-server process of one test.
type redisServer struct {
	t    testing.TB
	bin  string
	dir  string
	args []string
	addr string // path of the socket, or host:port
	cmd  *exec.Cmd
	out  *os.File
	user []string // user and password of admin, if any
	tls  *testTLS
}

// startRedis starts a server on a socket of its own, that keeps nothing on disk.
func startRedis(t testing.TB, args ...string) *redisServer {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &redisServer{t: t, bin: "redis-server", dir: dir, addr: filepath.Join(dir, "s")}
	s.args = append([]string{"--port", "0", "--unixsocket", s.addr, "--save", "", "--appendonly", "no", "--dir", dir}, args...)
	s.start()
	t.Cleanup(s.kill)
	return s
}

// startRedisTCP starts a server on a free port of loopback.
func startRedisTCP(t testing.TB, args ...string) *redisServer {
	t.Helper()
	dir := t.TempDir()
	port := freePort(t)
	s := &redisServer{t: t, bin: "redis-server", dir: dir, addr: fmt.Sprint("127.0.0.1:", port)}
	s.args = append([]string{"--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--save", "", "--appendonly", "no", "--dir", dir}, args...)
	s.start()
	t.Cleanup(s.kill)
	return s
}

// freePort returns a port that nobody listens on, nor on the one of a cluster's bus, which is 10,000 higher. Both are below those that
// the kernel gives to whoever asks for any, and tests of other packages take others, so that nobody takes them before the server does.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 11_000 + rand.IntN(5_000)
		if free(t, port) && free(t, port+10_000) {
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

func free(t testing.TB, port int) bool {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprint("127.0.0.1:", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func (s *redisServer) start() {
	s.t.Helper()
	s.launch()
	admin := s.admin()
	defer func() { _ = admin.Close() }()
	for deadline := time.Now().Add(hang); ; {
		err := admin.Ping(s.t.Context()).Err()
		if err == nil || strings.HasPrefix(err.Error(), "NOPERM") || strings.HasPrefix(err.Error(), "LOADING") {
			return
		}
		if time.Now().After(deadline) {
			out, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.t.Fatalf("redis does not start: %v\n%s", err, out)
		}
		time.Sleep(2 * time.Millisecond) // nothing tells that the socket is there
	}
}

func (s *redisServer) launch() {
	s.t.Helper()
	out, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	s.out = out
	s.cmd = exec.CommandContext(context.WithoutCancel(s.t.Context()), s.bin, s.args...)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	// A server never outlives the test process, however that ends.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("%s is needed: %v", s.bin, err)
	}
}

// kill ends the process at once.
func (s *redisServer) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		_ = s.out.Close()
		s.cmd = nil
	}
}

// restart starts the server again, empty.
func (s *redisServer) restart() {
	s.t.Helper()
	s.kill()
	_ = os.Remove(s.addr)
	s.start()
}

func (s *redisServer) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// admin is a plain client, for what a test does behind the store's back.
func (s *redisServer) admin() *redis.Client {
	network := "unix"
	if !strings.HasPrefix(s.addr, "/") {
		network = "tcp"
	}
	o := &redis.Options{Network: network, Addr: s.addr, Protocol: 2, DisableIdentity: true, PoolSize: 2, MaxRetries: -1}
	if len(s.user) == 2 {
		o.Username, o.Password = s.user[0], s.user[1]
	}
	if s.tls != nil {
		o.TLSConfig = s.tls.client()
	}
	return redis.NewClient(o)
}

// do runs one command behind the store's back.
func (s *redisServer) do(args ...any) any {
	s.t.Helper()
	c := s.admin()
	defer func() { _ = c.Close() }()
	v, err := c.Do(s.t.Context(), args...).Result()
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	return v
}

// patience is the Timeout of stores whose server answers: also on a busy machine.
const patience = 3 * time.Second

func (s *redisServer) options() RedisOptions {
	o := RedisOptions{URL: "redis://" + s.addr, Timeout: patience}
	if strings.HasPrefix(s.addr, "/") {
		o.URL = "unix://" + s.addr
	}
	return o
}

// open opens a store on the server.
func (s *redisServer) open(cfg Config) *Redis {
	s.t.Helper()
	return openRedis(s.t, cfg, s.options())
}

func openRedis(t testing.TB, cfg Config, o RedisOptions) *Redis {
	t.Helper()
	if testing.Verbose() && cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	store, err := NewRedis(ctx, cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// pair is two pods on one server.
func (s *redisServer) pair(cfg Config) (a, b *Redis) {
	s.t.Helper()
	a = s.open(cfg)
	return a, s.open(cfg)
}

// testTLS is the certificates of a test.
type testTLS struct{ client func() *tls.Config }
