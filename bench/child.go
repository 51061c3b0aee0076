package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// endGrace is how long a child may take to end by itself.
const endGrace = 10 * time.Second

// child is a process that speaks in lines: it says when it is ready, answers a line on its standard input with one on its
// standard output, and ends at the end of its input.
type child struct {
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // what it prints; closed at its end
	done  chan struct{}
	once  sync.Once
}

// start starts a child. Its complaints go to this process's standard error.
func start(name, program string, args ...string) (*child, error) {
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	// A child outlives nobody, even if this process is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errChild, name, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errChild, name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errChild, name, err)
	}
	c := &child{name: name, cmd: cmd, in: in, lines: make(chan string, 64), done: make(chan struct{})}
	go c.read(out)
	return c, nil
}

// read hands on lines until the child closes its output. When nobody waits for them the oldest are dropped.
func (c *child) read(out io.Reader) {
	defer close(c.done)
	defer close(c.lines)
	for s := bufio.NewScanner(out); s.Scan(); {
		for sent := false; !sent; {
			select {
			case c.lines <- s.Text():
				sent = true
			default:
				select {
				case <-c.lines:
				default:
				}
			}
		}
	}
	_, _ = io.Copy(io.Discard, out) // an overlong line: what follows is of no interest, but must be read
}

// await returns the rest of the first line that begins with prefix.
func (c *child) await(ctx context.Context, prefix string) (string, error) {
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				return "", fmt.Errorf("%w: %s ended before it said %q", errChild, c.name, prefix)
			}
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				return strings.TrimSpace(rest), nil
			}
		case <-ctx.Done():
			return "", fmt.Errorf("%w: %s did not say %q: %w", errChild, c.name, prefix, ctx.Err())
		}
	}
}

// ask writes a word and returns what the child answers to it.
func (c *child) ask(ctx context.Context, word string) (string, error) {
	if _, err := io.WriteString(c.in, word+"\n"); err != nil {
		return "", fmt.Errorf("%w: %s: %w", errChild, c.name, err)
	}
	return c.await(ctx, word+" ")
}

// count asks for the number of frames so far.
func (c *child) count(ctx context.Context) (int64, error) {
	n, err := c.ask(ctx, "count")
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(n, 10, 64)
}

func (c *child) cpu() (time.Duration, error) { return cpuTime(c.cmd.Process.Pid) }

// stop ends the child: by the end of its input and SIGTERM, and if that does not help by SIGKILL. It waits for it, and is idempotent.
func (c *child) stop() {
	c.once.Do(func() {
		_ = c.in.Close()
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(endGrace, func() { _ = c.cmd.Process.Kill() })
		defer kill.Stop()
		<-c.done
		_ = c.cmd.Wait()
	})
}

// serveCounts is the child's side: it answers each line with a count until its input ends or ctx does.
func serveCounts(ctx context.Context, in io.Reader, out io.Writer, count func() int64) {
	serveWords(ctx, in, out, func(string) string { return fmt.Sprint("count ", count()) })
}

// serveWords answers each line with another until its input ends or ctx does.
func serveWords(ctx context.Context, in io.Reader, out io.Writer, answer func(word string) string) {
	asked := make(chan string)
	go func() { // ends with the input, which the parent closes
		defer close(asked)
		for s := bufio.NewScanner(in); s.Scan(); {
			select {
			case asked <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case word, ok := <-asked:
			if !ok {
				return
			}
			fmt.Fprintln(out, answer(word))
		case <-ctx.Done():
			return
		}
	}
}
