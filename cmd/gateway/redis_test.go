package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// podSecret is what the pods of a test share.
const podSecret = "0123456789abcdef-of-the-pods-of-a-test"

// startRedis starts a server on a socket, and returns its URL and its process.
func startRedis(t *testing.T) (string, *os.Process) {
	t.Helper()
	socket := redisSocket(t)
	return "unix://" + socket, startRedisAt(t, socket)
}

// redisSocket returns where a server may listen.
func redisSocket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// startRedisAt starts a server on a socket.
func startRedisAt(t *testing.T, socket string) *os.Process {
	t.Helper()
	cmd := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", filepath.Dir(socket))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(hang); ; time.Sleep(5 * time.Millisecond) {
		if c, err := net.Dial("unix", socket); err == nil {
			_ = c.Close()
			return cmd.Process
		}
		if time.Now().After(deadline) {
			t.Fatal("redis does not start")
		}
	}
}

// TestR16_GatewaysShareSessions: two gateways on one Redis know each other's sessions; while Redis is away calls that need it are told
// so, the owner still answers, /readyz stays ready and tells; then all goes on.
func TestR16_GatewaysShareSessions(t *testing.T) {
	url, redis := startRedis(t)
	env := []string{"PENSTOCK_REDIS_URL=" + url, "PENSTOCK_REDIS_TIMEOUT=2s", "PENSTOCK_POD_SECRET=" + podSecret}
	var gateways []*served
	var clients []penstockv1.SessionServiceClient
	for range 2 {
		g := startServe(t, env)
		conn, err := grpc.NewClient(g.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		gateways, clients = append(gateways, g), append(clients, penstockv1.NewSessionServiceClient(conn))
	}
	ctx := t.Context()
	create := func(i int, id string) error {
		_, err := clients[i].CreateSession(ctx, &penstockv1.CreateSessionRequest{SessionId: id})
		return err
	}
	for i, id := range []string{"a", "b"} {
		if err := create(i, id); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range clients {
		list, err := c.ListSessions(ctx, &penstockv1.ListSessionsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, s := range list.GetSessions() {
			ids = append(ids, s.GetSessionId())
		}
		if !slices.Equal(ids, []string{"a", "b"}) {
			t.Errorf("listed are %v", ids)
		}
	}
	if _, err := clients[1].GetSession(ctx, &penstockv1.GetSessionRequest{SessionId: "a"}); err != nil {
		t.Error(err)
	}

	_ = redis.Signal(syscall.SIGSTOP)
	err := create(0, "c")
	if st := status.Convert(err); st.Code() != codes.Unavailable || reasonOf(st) != "STORE_UNAVAILABLE" {
		t.Errorf("without redis: %v %v", err, st.Details())
	}
	awaitSo(t, "the gateway tells", func() bool { _, h := get(t, gateways[0].http, "/readyz"); return h.Store == "unavailable" })
	if code, h := get(t, gateways[0].http, "/readyz"); code != http.StatusOK || h.Status != "ready" {
		t.Errorf("/readyz: %d %+v", code, h)
	}
	if _, err := clients[0].GetSession(ctx, &penstockv1.GetSessionRequest{SessionId: "a"}); err != nil {
		t.Errorf("the owner: %v", err)
	}
	_ = redis.Signal(syscall.SIGCONT)
	awaitSo(t, "redis is used again", func() bool { return create(1, "d") == nil })
	awaitSo(t, "the other gateway too", func() bool {
		_, err := clients[0].GetSession(ctx, &penstockv1.GetSessionRequest{SessionId: "d"})
		return err == nil
	})
}

func reasonOf(st *status.Status) string {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// awaitSo looks until something is so.
func awaitSo(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hang); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestP4_ExitCodeTells stops gateways that share a Redis: with nothing left here the exit code is 0, and where a session was ended that nobody else could take it
// is another one. What is left without Redis is no business of others.
func TestP4_ExitCodeTells(t *testing.T) {
	url, _ := startRedis(t)
	shared := []string{"PENSTOCK_REDIS_URL=" + url, "PENSTOCK_POD_SECRET=" + podSecret, "PENSTOCK_ENDPOINT_GRACE=0s", "PENSTOCK_DRAIN_GRACE=50ms"}
	for _, c := range []struct {
		name     string
		env      []string
		sessions int
		want     int
	}{
		{"nothing left", shared, 0, 0},
		{"a session cut", shared, 1, exitCut},
		{"alone", []string{"PENSTOCK_DRAIN_GRACE=50ms"}, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServe(t, c.env)
			for range c.sessions {
				s.create(t, "call")
			}
			s.signal(t)
			<-s.exited
			if got := s.cmd.ProcessState.ExitCode(); got != c.want {
				t.Errorf("exit code %d, want %d\n%s", got, c.want, s.log)
			}
		})
	}
}

// waitingForRedis starts a service whose Redis is not there, and returns it once it has said so.
func waitingForRedis(t *testing.T, socket string) (cmd *exec.Cmd, out io.Reader, log *safeBuffer) {
	t.Helper()
	cmd, log = command(t, []string{"PENSTOCK_REDIS_URL=unix://" + socket, "PENSTOCK_REDIS_WAIT=10m", "PENSTOCK_ENDPOINT_GRACE=0s", "PENSTOCK_POD_SECRET=" + podSecret},
		"serve", "--grpc-addr=127.0.0.1:0", "--http-addr=127.0.0.1:0"), &safeBuffer{}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	awaitSo(t, "a word of the Redis that is not there", func() bool { return strings.Contains(log.String(), "redis cannot be reached yet") })
	return cmd, out, log
}

// TestRedisIsAwaitedAtStart: a gateway that is started before its Redis serves as soon as that is there, and does not outlast a signal meanwhile.
func TestRedisIsAwaitedAtStart(t *testing.T) {
	t.Run("it comes", func(t *testing.T) {
		socket := redisSocket(t)
		cmd, out, log := waitingForRedis(t, socket)
		startRedisAt(t, socket)
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "gateway serves gRPC on ") {
			t.Errorf("it says %q, %v\n%s", line, err, log)
		}
		end(t, cmd, out)
	})
	t.Run("it does not", func(t *testing.T) {
		cmd, out, _ := waitingForRedis(t, redisSocket(t))
		end(t, cmd, out)
	})
}

// end sends SIGTERM; with nothing to hand over the exit code is 0.
func end(t *testing.T, cmd *exec.Cmd, out io.Reader) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
