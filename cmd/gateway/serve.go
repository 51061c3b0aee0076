package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"go.opentelemetry.io/otel"

	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
	"github.com/penstock-media/penstock/cmd/gateway/internal/telemetry"
	"github.com/penstock-media/penstock/resolverstore"
)

// serveCmd runs the service.
type serveCmd struct {
	config.Flags `embed:""`
}

// Run implements the command: it serves until ctx ends or a server fails, then drains and closes. A further signal
// while it drains cuts the grace short.
func (c *serveCmd) Run(ctx context.Context, std *stdio, warnings warnings) error {
	if err := complete(&c.Config); err != nil {
		return err
	}
	log := newLogger(std.Err, c.LogLevel, c.LogFormat)
	for _, w := range warnings {
		log.Warn("an environment variable is ignored", "problem", w)
	}
	otel.SetErrorHandler(telemetry.FaultHandler(log))
	resolverstore.RedirectRedisLog(log)
	g, err := newGateway(ctx, c.Config, log)
	if ctx.Err() != nil && errors.Is(err, resolverstore.ErrUnavailable) {
		log.Info("stopped before redis could be reached")
		return nil // as asked, with nothing to hand over
	}
	if err != nil {
		return err
	}
	defer reloadOnHangup(g.Reload)()
	asked := make(chan os.Signal, 2) // from now on, so that no second one is lost while the first is taken note of
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(asked)
	failure := g.Start()
	if failure == nil {
		fmt.Fprintf(std.Out, "gateway serves gRPC on %s and HTTP on %s\n", g.GRPCAddr(), g.HTTPAddr())
		select {
		case <-ctx.Done():
		case failure = <-g.Failed():
		}
	}
	hurry, stop := hurried(ctx, asked)
	defer stop()
	if failure != nil {
		stop() // nobody is served any more, so nobody is waited for
	}
	if err := g.Close(hurry); err != nil && failure == nil {
		failure = err
	}
	return failure
}

// hurried returns a context that ends with the next signal after the one that ended ctx, if one has. The caller must call stop, which waits for nothing but itself.
func hurried(ctx context.Context, asked <-chan os.Signal) (hurry context.Context, stop func()) {
	left := 1
	if why := context.Cause(ctx); why != nil && why != context.Canceled { //nolint:errorlint // a signal's cause is one that counts as Canceled
		left = 2 // it comes here too
	}
	hurry, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var waiting sync.WaitGroup
	waiting.Go(func() {
		for ; left > 0; left-- {
			select {
			case <-asked:
			case <-hurry.Done():
				return
			}
		}
		cancel()
	})
	return hurry, func() {
		cancel()
		waiting.Wait()
	}
}

// newLogger returns a logger of the level and format that Config.Check has let pass.
func newLogger(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // validated
	opts := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(telemetry.LogHandler(slog.NewJSONHandler(w, opts)))
	}
	return slog.New(telemetry.LogHandler(slog.NewTextHandler(w, opts)))
}
