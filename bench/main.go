// Command bench measures the gateway's CPU time per delivered frame against references taken in the same run.
//
// `bench run` starts everything: the built gateway, a generator that acts as an SFU and a worker, each a process of its own, so
// that only the gateway is counted; then the references, such as a paced bare decode with ffmpeg and aiortc's receiver. It prints
// one table and leaves it as a file; -run picks rows by their id. `bench compare OLD NEW` measures two gateways in turns, to
// tell whether a change was worth it; `bench soak` watches the memory of one for as long as is asked; `bench sessions` tells what
// many sessions cost pods and Redis at rest. `bench generate`, `bench work`,
// `bench receive` and `bench send` are the processes that these start.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := dispatch(ctx, os.Args[1:], os.Stdin, os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// dispatch runs one subcommand; without one it is run.
func dispatch(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	name := "run"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		name, args = args[0], args[1:]
	}
	switch name {
	case "run":
		return runMain(ctx, args, out)
	case "generate":
		return generateMain(ctx, args, in, out)
	case "work":
		return workMain(ctx, args, in, out)
	case "receive":
		return receiveMain(ctx, args, in, out)
	case "send":
		return sendMain(ctx, args, in, out)
	case "compare":
		return compareMain(ctx, args, out)
	case "soak":
		return soakMain(ctx, args, out)
	case "sessions":
		return sessionsMain(ctx, args, out)
	default:
		return fmt.Errorf("%w: %q; there are run, compare, soak, sessions, generate, work, receive and send", errUsage, name)
	}
}
