package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/penstock-media/penstock/cmd/gateway/internal/demo"
)

// demoCmd shows the whole job on one machine.
type demoCmd struct {
	// Out is where files are left.
	Out string `name:"out" default:"out/demo" placeholder:"DIR" type:"path" help:"Where to leave PNG and WAV files and the page that shows them."`
	// Timeout is the hang limit of the whole run.
	Timeout time.Duration `name:"timeout" default:"60s" placeholder:"DURATION" help:"When to give up."`
	// StepLimit is the hang limit of one step of the call.
	StepLimit time.Duration `name:"step-limit" hidden:"" default:"15s" help:"When to give up a step."`
	// Fault makes the publisher do something wrong, to show that the demo would notice.
	Fault string `name:"fault" hidden:"" default:"none" enum:"none,cameras,microphones,missing" help:"What the publisher does wrong on purpose."`
}

// Run implements the command.
func (c *demoCmd) Run(ctx context.Context, std *stdio) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return fmt.Errorf("make the directory for the files: %w", err)
	}
	log, err := os.Create(filepath.Join(c.Out, "gateway.log"))
	if err != nil {
		return fmt.Errorf("make the log file: %w", err)
	}
	defer func() { _ = log.Close() }() // a log that is cut short does not fail the demo
	service, err := startDemoService(ctx, log)
	if err != nil {
		return fmt.Errorf("start the gateway: %w", err)
	}
	err = demo.Run(ctx, demo.Config{
		Gateway: service.address, Dir: c.Out, Fault: demo.Fault(c.Fault), StepLimit: c.StepLimit,
		Out: std.Out, Err: std.Err, Live: isTerminal(std.Out),
	})
	if stopErr := service.stop(); err == nil && stopErr != nil {
		err = fmt.Errorf("stop the gateway: %w", stopErr)
	}
	return err
}

// demoPublisherCmd is the publisher process of the demo.
type demoPublisherCmd struct {
	Gateway string `name:"gateway" required:"" help:"gRPC address of the gateway."`
	Session string `name:"session" required:"" help:"Session to publish into."`
	Fault   string `name:"fault" default:"none" help:"What to do wrong on purpose."`
}

// Run implements the command.
func (c *demoPublisherCmd) Run(ctx context.Context, std *stdio) error {
	return demo.Publish(ctx, demo.PublisherConfig{
		Gateway: c.Gateway, Session: c.Session, Fault: demo.Fault(c.Fault), Commands: os.Stdin, Replies: std.Out,
	})
}

// isTerminal tells whether people see what is written at once.
func isTerminal(out any) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
