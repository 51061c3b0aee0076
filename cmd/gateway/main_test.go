package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
	"github.com/penstock-media/penstock/internal/leak"
)

// hang bounds what could wait for ever, far above what it takes.
const hang = 2 * time.Minute

// binaryDir is where the binary is built; TestMain makes and removes it.
var binaryDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "gateway")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binaryDir = dir
	code := leak.Run(m)
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// binary returns the path of the gateway, built once for all tests that ask.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaryDir, "gateway")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// command returns a command of the built binary, with no PENSTOCK_ or OTEL_ variable but those given.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PENSTOCK_") && !strings.HasPrefix(v, "OTEL_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// outcome is what a command that has ended left.
type outcome struct {
	out, err string
	code     int
}

func runBinary(t *testing.T, env []string, args ...string) outcome {
	t.Helper()
	cmd := command(t, env, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return outcome{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// file makes a file and returns its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestO7_BadConfigurationIsRefusedAtStart(t *testing.T) {
	taken := startServe(t, nil)
	for _, c := range []struct {
		name      string
		env, args []string
		code      int
		want      []string // the setting, and the mend
	}{
		{"unknown flag", nil, []string{"--grpc-adr=x"}, exitUsage, []string{"--grpc-adr", "--grpc-addr"}},
		{"flag", nil, []string{"--grpc-addr=nowhere"}, exitUsage, []string{"--grpc-addr (PENSTOCK_GRPC_ADDR)", "write it like 127.0.0.1:50051"}},
		{"variable", []string{"PENSTOCK_DRAIN_GRACE=soon"}, nil, exitUsage, []string{"PENSTOCK_DRAIN_GRACE", "write one like 10s"}},
		{"beyond loopback", []string{"PENSTOCK_GRPC_ADDR=:0"}, nil, exitUsage, []string{"--grpc-addr (PENSTOCK_GRPC_ADDR)", "--insecure"}},
		{"store", []string{"PENSTOCK_REDIS_URL=http://:s3cr3t@127.0.0.1"}, nil, exitUsage, []string{"--redis-url (PENSTOCK_REDIS_URL)", "its scheme is not known", "write it like redis://127.0.0.1:6379"}},
		{"store that is not there", []string{"PENSTOCK_REDIS_URL=redis://:s3cr3t@127.0.0.1:1", "PENSTOCK_POD_SECRET=" + podSecret}, nil, exitFailed, []string{"--redis-url", "not available", "does it run"}},
		{"file that is not there", nil, []string{"--config=/does/not/exist"}, exitUsage, []string{"--config", "/does/not/exist", "name a YAML file"}},
		{"malformed file", nil, []string{"--config=" + file(t, "bad.yaml", "grpc-addr: [\n")}, exitUsage, []string{"bad.yaml: is not YAML", "write one 'flag-name: value' a line"}},
		{"unknown key", nil, []string{"--config=" + file(t, "key.yaml", "log-level: info\nlog-levels: info\n")}, exitUsage, []string{`key.yaml:2: unknown setting "log-levels"`, `did you mean "log-level"?`}},
		{"wrong value in a file", nil, []string{"--config=" + file(t, "value.yaml", "max-sessions: lots\n")}, exitUsage, []string{`value.yaml:1: "lots" is not a whole number`, "write digits only"}},
		{"address in use", nil, []string{"--grpc-addr=" + taken.grpc, "--http-addr=127.0.0.1:0"}, exitFailed, []string{"--grpc-addr", "is another gateway running"}},
		{"other address in use", nil, []string{"--http-addr=" + taken.http, "--grpc-addr=127.0.0.1:0"}, exitFailed, []string{"--http-addr", "is another gateway running"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := runBinary(t, c.env, append([]string{"serve"}, c.args...)...)
			if got.code != c.code {
				t.Errorf("exit %d, want %d", got.code, c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(got.err, want) {
					t.Errorf("%q is not in\n%s", want, got.err)
				}
			}
			if strings.Contains(got.err+got.out, "s3cr3t") {
				t.Errorf("a secret is shown:\n%s", got.err)
			}
		})
	}
}

func TestO7_HelpIsComplete(t *testing.T) {
	var cli commands
	parser, err := kong.New(&cli, config.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	commandsSeen := 0
	for _, node := range parser.Model.Leaves(false) {
		if node.Hidden || node.Name == "demo" {
			continue
		}
		commandsSeen++
		got := runBinary(t, nil, node.Name, "--help")
		if got.code != 0 || node.Help == "" {
			t.Errorf("%s --help: exit %d, help %q", node.Name, got.code, node.Help)
		}
		text := strings.Join(strings.Fields(got.out), " ")
		for _, flag := range node.Flags {
			if flag.Name == "help" {
				continue
			}
			if flag.Help == "" || len(flag.Envs) == 0 || !strings.HasPrefix(flag.Envs[0], "PENSTOCK_") {
				t.Errorf("%s --%s has help %q and variables %v", node.Name, flag.Name, flag.Help, flag.Envs)
				continue
			}
			if !strings.Contains(text, flag.Name) || !strings.Contains(text, "$"+flag.Envs[0]) {
				t.Errorf("%s --help does not tell of --%s and %s", node.Name, flag.Name, flag.Envs[0])
			}
		}
	}
	if commandsSeen < 7 {
		t.Errorf("only %d commands", commandsSeen)
	}
	if got := runBinary(t, nil, "--help"); got.code != 0 || !strings.Contains(got.out, "snapshot") || strings.Contains(got.out, "demo-publisher") {
		t.Errorf("--help: exit %d\n%s", got.code, got.out)
	}
}

func TestO7_ConfigDumpHidesSecrets(t *testing.T) {
	const secret = "s3cr3t-s3cr3t-s3cr3t"
	origins := map[string]string{"variable": "from PENSTOCK_MAX_SESSIONS:", "flag": "from flag:", "file": "c.yaml:2:", "own file": "from flag:"}
	for name, got := range map[string]outcome{
		"variable": runBinary(t, []string{"PENSTOCK_AUTH_TOKEN=" + secret, "PENSTOCK_MAX_SESSIONS=7"}, "config"),
		"flag":     runBinary(t, nil, "config", "--auth-token="+secret, "--max-sessions=7"),
		"file":     runBinary(t, nil, "config", "--config="+file(t, "c.yaml", "auth-token: "+secret+"\nmax-sessions: 7\n")),
		"own file": runBinary(t, nil, "config", "--max-sessions=7", "--auth-token-file="+file(t, "token", secret+"\n"),
			"--jwt-secret-file="+file(t, "jwt", secret+secret+"\n")),
	} {
		if got.code != 0 || !strings.Contains(got.out, "\nauth-token: (hidden)\n") || !strings.Contains(got.out, "\nmax-sessions: 7\n") {
			t.Errorf("%s: exit %d\n%s%s", name, got.code, got.out, got.err)
		}
		if strings.Contains(got.out+got.err, secret) {
			t.Errorf("%s: the secret is shown", name)
		}
		before, _, _ := strings.Cut(got.out, "\nmax-sessions: 7\n")
		comment := before[strings.LastIndex(before, "\n"):]
		if !strings.Contains(comment, origins[name]) || !strings.Contains(got.out, "# PENSTOCK_LOG_LEVEL, from default: ") {
			t.Errorf("%s: max-sessions is said to come %q", name, comment)
		}
		if name == "own file" && (!strings.Contains(got.out, "# PENSTOCK_AUTH_TOKEN, from --auth-token-file: ") || !strings.Contains(got.out, "# PENSTOCK_JWT_SECRET, from --jwt-secret-file: ")) {
			t.Errorf("the secrets' files are not told:\n%s", got.out)
		}
	}
}

// TestO7_UnknownVariablesAreWarnedOf: what looks like a setting and is none is told, with the nearest one; what Kubernetes sets for a Service is not.
func TestO7_UnknownVariablesAreWarnedOf(t *testing.T) {
	env := []string{"PENSTOCK_MAX_SESSION=7", "PENSTOCK_NONSENSE_OF_ALL_KINDS=1", "PENSTOCK_SERVICE_HOST=10.0.0.1", "PENSTOCK_PORT_50051_TCP_ADDR=10.0.0.1",
		"PENSTOCK_HEADLESS_SERVICE_PORT_GRPC=1", "PENSTOCK_SESSION=of-another-command", "PENSTOCK_LOG_LEVEL=info"}
	want := "gateway: warning: PENSTOCK_MAX_SESSION is set and unknown: did you mean PENSTOCK_MAX_SESSIONS?\n" +
		"gateway: warning: PENSTOCK_NONSENSE_OF_ALL_KINDS is set and unknown: no setting has this name; `gateway config` prints all\n"
	if got := runBinary(t, env, "config"); got.code != 0 || got.err != want {
		t.Errorf("exit %d, want\n%s\ngot\n%s", got.code, want, got.err)
	}
	s := startServe(t, env)
	s.stop(t)
	if log := s.log.String(); strings.Count(log, "an environment variable is ignored") != 2 || !strings.Contains(log, "did you mean PENSTOCK_MAX_SESSIONS?") {
		t.Errorf("log:\n%s", log)
	}
}

// TestO7_SIGHUPDoesNotKill: a service manager may send it to have certificates read again.
func TestO7_SIGHUPDoesNotKill(t *testing.T) {
	s := startServe(t, nil)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if code, h := get(t, s.http, "/readyz"); code != 200 || h.Status != "ready" {
		t.Errorf("after SIGHUP: %d %+v", code, h)
	}
	s.stop(t)
}

func TestO7_LogNeverShowsTheToken(t *testing.T) {
	const secret = "s3cr3t-s3cr3t-s3cr3t"
	s := startServe(t, []string{"PENSTOCK_AUTH_TOKEN=" + secret, "PENSTOCK_LOG_LEVEL=debug"})
	refused := runBinary(t, nil, "tracks", "--session=x", "--addr="+s.grpc)
	if refused.code != exitFailed || !strings.Contains(refused.err, "UNAUTHENTICATED") {
		t.Errorf("without a token: exit %d, %s", refused.code, refused.err)
	}
	let := runBinary(t, []string{"PENSTOCK_AUTH_TOKEN=" + secret}, "tracks", "--session=x", "--addr="+s.grpc)
	if let.code != exitFailed || !strings.Contains(let.err, "SESSION_NOT_FOUND") {
		t.Errorf("with it: exit %d, %s", let.code, let.err)
	}
	s.stop(t)
	if log := s.log.String(); strings.Contains(log+let.err, secret) || !strings.Contains(log, "level=DEBUG") {
		t.Errorf("the log shows the token, or is no debug log:\n%s", log)
	}
}

// served is a running `gateway serve`.
type served struct {
	grpc, http string
	cmd        *exec.Cmd
	log        *safeBuffer
	exited     chan struct{}
	err        error // of Wait, after exited
}

// safeBuffer is a buffer that a process may write while the test reads.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *safeBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns what was written.
func (l *safeBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startServe starts the service on free ports; it is killed when the test ends.
func startServe(t *testing.T, env []string, args ...string) *served {
	t.Helper()
	s := &served{log: &safeBuffer{}, exited: make(chan struct{})}
	s.cmd = command(t, env, append([]string{"serve", "--grpc-addr=127.0.0.1:0", "--http-addr=127.0.0.1:0",
		"--decode-workers=16"}, args...)...) // no picture waits for a worker, however busy the machine
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(out)
	line, err := reader.ReadString('\n')
	go func() {
		defer close(s.exited)
		_, _ = io.Copy(io.Discard, reader)
		s.err = s.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.exited
	})
	m := regexp.MustCompile(`gRPC on (\S+) and HTTP on (\S+)`).FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("serve said %q, %v\n%s", line, err, s.log)
	}
	s.grpc, s.http = m[1], m[2]
	return s
}

// signal sends SIGTERM.
func (s *served) signal(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// create makes a session.
func (s *served) create(t *testing.T, id string) {
	t.Helper()
	conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := penstockv1.NewSessionServiceClient(conn).CreateSession(t.Context(), &penstockv1.CreateSessionRequest{SessionId: id}); err != nil {
		t.Fatal(err)
	}
}

// stop asks the service to stop at once, by two signals, and waits. With nothing left to do the first is enough.
func (s *served) stop(t *testing.T) {
	t.Helper()
	s.signal(t)
	s.waitLog(t, "msg=draining")
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	<-s.exited
	if s.err != nil {
		t.Errorf("serve: %v\n%s", s.err, s.log)
	}
}

// waitLog waits until the log holds a text.
func (s *served) waitLog(t *testing.T, text string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(s.log.String(), text) {
		select {
		case <-tick.C:
		case <-s.exited: // it may have said it since
			if !strings.Contains(s.log.String(), text) {
				t.Fatalf("ended before it said %q:\n%s", text, s.log)
			}
			return
		case <-t.Context().Done():
			t.Fatal("hangs")
		}
	}
}
