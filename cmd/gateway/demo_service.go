package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
)

// demoWorkers is more than the tracks of the demo: on a busy machine its pictures come late, but the gateway does not leave any out.
const demoWorkers = 16

// demoService is a gateway in this process, on free ports of the loopback interface.
type demoService struct {
	gateway *gateway
	address string // of gRPC
}

// startDemoService starts it. Its log goes to log. stop must be called.
func startDemoService(ctx context.Context, log io.Writer) (*demoService, error) {
	cfg := config.Default()
	cfg.GRPCAddr, cfg.HTTPAddr = "127.0.0.1:0", "127.0.0.1:0"
	cfg.ICELoopback = "on"
	cfg.DrainGrace, cfg.StopTimeout = 0, 5*time.Second
	cfg.DecodeWorkers = demoWorkers
	if err := complete(&cfg); err != nil {
		return nil, err
	}
	g, err := newGateway(ctx, cfg, newLogger(log, "debug", cfg.LogFormat))
	if err != nil {
		return nil, err
	}
	s := &demoService{gateway: g}
	if err := g.Start(); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	s.address = g.GRPCAddr()
	return s, nil
}

// stop closes the gateway and waits for all that it started.
func (s *demoService) stop() error { return s.gateway.Close(context.Background()) }
