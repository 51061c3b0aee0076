package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// process is the publisher process, as its parent sees it.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	replies *bufio.Reader
}

// startPublisher runs this same binary as the publisher. ctx's end kills it; close must be called.
func startPublisher(ctx context.Context, gateway, session string, fault Fault, stderr io.Writer) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, "demo-publisher", "--gateway", gateway, "--session", session, "--fault", string(fault))
	cmd.Stderr = stderr
	cmd.WaitDelay = 5 * time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPublisher, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPublisher, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: start: %w", ErrPublisher, err)
	}
	return &process{cmd: cmd, in: in, replies: bufio.NewReader(out)}, nil
}

// tell gives a command and waits for the reply. The end of startPublisher's ctx ends the wait.
func (p *process) tell(command string) error {
	if _, err := fmt.Fprintln(p.in, command); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrPublisher, command, err)
	}
	reply, err := p.replies.ReadString('\n')
	if err != nil {
		return fmt.Errorf("%w: %s: no reply: %w", ErrPublisher, command, err)
	}
	if reply = strings.TrimSpace(reply); reply != "ok" {
		return fmt.Errorf("%w: %s: %s", ErrPublisher, command, strings.TrimPrefix(reply, "error "))
	}
	return nil
}

// close ends the commands and waits for the process.
func (p *process) close() error {
	_ = p.in.Close() // when it is closed already the process is gone
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %w", ErrPublisher, err)
	}
	return nil
}
