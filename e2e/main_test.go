//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// hang bounds everything that could wait for ever, about ten times of what it takes.
const hang = 3 * time.Minute

// program returns the path of a heavy part, named by a variable or found on the path. A part that is absent fails the
// test, since a test that was not run shows nothing.
func program(t *testing.T, variable string, names ...string) string {
	t.Helper()
	if path := os.Getenv(variable); path != "" {
		return path
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("none of %v is here, nor does %s name one; `make e2e` sees to it", names, variable)
	return ""
}

// gatewayProcess is a running `gateway serve`.
type gatewayProcess struct {
	grpc, http string
	cmd        *exec.Cmd
	log        *logBuffer
}

// logBuffer is a buffer that a process may write while the test reads.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns what was written.
func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serve starts the gateway on free ports. When the test ends it is asked to stop, and must exit 0.
func serve(t *testing.T, args ...string) *gatewayProcess {
	t.Helper()
	g := &gatewayProcess{log: &logBuffer{}}
	args = append([]string{"serve", "--grpc-addr=127.0.0.1:0", "--http-addr=127.0.0.1:0", "--drain-grace=0s", "--log-level=debug",
		"--decode-workers=16"}, args...)
	g.cmd = exec.Command(program(t, "GATEWAY", "gateway"), args...)
	g.cmd.Stderr = g.log
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(hang, func() { _ = g.cmd.Process.Kill() })
	t.Cleanup(func() {
		defer killer.Stop()
		if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("the gateway ended by itself: %v\n%s", err, g.log)
		}
		_, _ = io.Copy(io.Discard, out)
		if err := g.cmd.Wait(); err != nil {
			t.Errorf("after SIGTERM: %v\n%s", err, g.log)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	m := regexp.MustCompile(`gRPC on (\S+) and HTTP on (\S+)`).FindStringSubmatch(line)
	if err != nil || m == nil {
		t.Fatalf("serve said %q, %v\n%s", line, err, g.log)
	}
	g.grpc, g.http = m[1], m[2]
	return g
}

// run runs a program and returns what it printed.
func run(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, hang)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// worker runs a worker command of the gateway's binary.
func (g *gatewayProcess) worker(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return run(t.Context(), program(t, "GATEWAY", "gateway"), append(args, "--addr="+g.grpc)...)
}
