package podtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// process is a child of the test. It is killed with the test, and what it wrote is shown when the test has failed.
type process struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	log    output
	exited chan struct{}
	err    error // of Wait, after exited
}

// output is what a process has written; its end can be waited for.
type output struct {
	mu    sync.Mutex
	b     bytes.Buffer
	wrote chan struct{} // closed and replaced at every write
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.wrote != nil {
		close(o.wrote)
		o.wrote = nil
	}
	return o.b.Write(p)
}

// String returns all of it.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// more returns a channel that is closed at the next write, and what there is now.
func (o *output) more() (<-chan struct{}, string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.wrote == nil {
		o.wrote = make(chan struct{})
	}
	return o.wrote, o.b.String()
}

// startProcess starts a program.
func startProcess(t *testing.T, name, program string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, exited: make(chan struct{})}
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	p.cmd.Env = append(environment(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	// A process never outlives the tests, however they end.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	// The thread that starts it must live as long as the process does: Pdeathsig is sent at its end.
	go func() {
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
		close(p.exited)
	}()
	if err := <-started; err != nil {
		t.Fatalf("%s is needed: %v", program, err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("--- %s\n%s", p.name, p.log.String())
		}
		if out := p.log.String(); strings.Contains(out, "DATA RACE") || strings.Contains(out, "panic:") {
			t.Errorf("%s has a fault:\n%s", p.name, out)
		}
	})
	return p
}

// kill ends it at once.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// signal sends a signal.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// waitLog waits until it has written a text, and returns all that it wrote.
func (p *process) waitLog(ctx context.Context, text string) string {
	p.t.Helper()
	for {
		more, all := p.log.more()
		if strings.Contains(all, text) {
			return all
		}
		select {
		case <-more:
		case <-p.exited:
			if strings.Contains(p.log.String(), text) {
				return p.log.String()
			}
			p.t.Fatalf("%s ended (%v) before it said %q", p.name, p.err, text)
		case <-ctx.Done():
			p.t.Fatalf("%s never said %q", p.name, text)
		}
	}
}

// wait waits for its end and returns the exit code; -1 is by a signal.
func (p *process) wait(ctx context.Context) int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-ctx.Done():
		p.t.Fatalf("%s does not end", p.name)
		return 0
	}
}

// freeAddr returns an address of loopback that nobody listens on, another one each time. It is below those that the kernel gives to whoever asks for any, and
// tests of other packages take others, so that nobody takes it before its process does.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprint("127.0.0.1:", 26_000+rand.IntN(5_000))
		if _, taken := addrs.LoadOrStore(addr, true); taken {
			continue
		}
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
		if err != nil {
			continue
		}
		must(t, l.Close())
		return addr
	}
	t.Fatal("no port is free")
	return ""
}

// addrs are those that freeAddr has returned.
var addrs sync.Map

var _ io.Writer = (*output)(nil)
