// Command gateway is Penstock: it receives WebRTC media and streams decoded frames over gRPC. `gateway serve` is the
// service; `gateway demo` shows the whole job on one machine; `tracks`, `stream` and `snapshot` are a worker at the
// command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
	_ "github.com/penstock-media/penstock/cmd/gateway/internal/timerslack" // set before main
)

// Exit codes beside 0.
const (
	exitFailed = 1 // the command was understood, and failed
	exitUsage  = 2 // the command line or the configuration is wrong
	exitCut    = 3 // it stopped as asked, and had to cut what it could not hand over, or could not close, in time
)

// commands is the command line. Every command has a method Run(context.Context, *stdio) error.
type commands struct {
	Serve         serveCmd         `cmd:"" help:"Run the service."`
	Demo          demoCmd          `cmd:"" help:"Show the whole job on this machine: publish, resolve, stream, and prove by content that every frame came from the right source."`
	DemoPublisher demoPublisherCmd `cmd:"" hidden:"" help:"The publisher process of the demo."`
	Tracks        tracksCmd        `cmd:"" help:"List the tracks of a session, or watch them change."`
	Stream        streamCmd        `cmd:"" help:"Stream one track into a file, or show how it flows."`
	Snapshot      snapshotCmd      `cmd:"" help:"Write one picture of a track."`
	Config        configCmd        `cmd:"" help:"Print the effective configuration of serve, secrets hidden."`
	Healthcheck   healthcheckCmd   `cmd:"" help:"Ask a running service whether it is ready; the exit code tells."`
	Version       versionCmd       `cmd:"" help:"Print the version, and that of the decoders with their licence."`
}

// stdio is where a command reads and writes. Commands use it in place of os.Stdout, so that tests can look.
type stdio struct {
	Out, Err io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], &stdio{Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}

// run parses args, runs the command and returns the exit code. Cancelling ctx is SIGTERM.
func run(ctx context.Context, args []string, std *stdio) int {
	var cli commands
	exited := -1
	parser, err := kong.New(&cli, append(config.Options(),
		kong.Name("gateway"),
		kong.Description("Penstock receives WebRTC media and streams decoded frames over gRPC."),
		kong.Writers(std.Out, std.Err),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(std),
	)...)
	if err != nil {
		fmt.Fprintln(std.Err, "gateway:", err)
		return exitFailed
	}
	kctx, err := parser.Parse(args)
	if exited >= 0 {
		return exited // --help
	}
	if err != nil {
		var fault *config.Error
		if errors.As(err, &fault) {
			err = fault // the parser puts the name of whatever flag it was at before it
		}
		fmt.Fprintln(std.Err, "gateway:", err)
		return exitUsage
	}
	if err := kctx.Run(warnings(config.Unknown(parser.Model, os.Environ()))); err != nil {
		fmt.Fprintln(std.Err, "gateway:", err)
		var wrong *config.Error
		if errors.As(err, &wrong) {
			return exitUsage
		}
		if errors.Is(err, errCut) || errors.Is(err, errNotClosed) {
			return exitCut
		}
		return exitFailed
	}
	return 0
}
