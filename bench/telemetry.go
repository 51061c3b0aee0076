package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
)

const (
	// telemetryBudget is what the gateway may cost with metrics and traces, of what it costs without.
	telemetryBudget = 1.03
	// scrapeEvery is how often metrics are asked for: three times as often as Prometheus does by default.
	scrapeEvery = 5 * time.Second
)

// told measures what it costs to be asked for metrics every 5 s and to send one trace of a hundred to a collector, against nothing of it.
func (b *bench) told(ctx context.Context) []row {
	var rows []row
	for _, c := range []struct {
		what string
		load load
	}{{"X1's load", fourCameras()}, {"X3's load", microphones(100)}} {
		o := b.inTurn([]measurement{
			{c.what + " without telemetry", b.delivers(ctx, c.load)},
			{c.what + " with telemetry", func() (sample, error) { return b.withTelemetry(ctx, c.load) }},
		})
		rows = append(rows, compare("telemetry", c.what+" with metrics and 1 % of traces / without", telemetryBudget, o[1], o[0]))
	}
	return rows
}

// withTelemetry measures the gateway under a load while metrics and traces are taken from it.
func (b *bench) withTelemetry(ctx context.Context, l load) (out sample, err error) {
	sink, err := startSink(ctx)
	if err != nil {
		return sample{}, err
	}
	defer sink.stop()
	told := *b
	told.args = append([]string{"--otlp-endpoint", "http://" + sink.address, "--trace-sample", "0.01"}, b.args...)
	s, err := told.set(ctx, b.gateway, l, true)
	if err != nil {
		return sample{}, err
	}
	defer s.stop()
	scraping, cancel := context.WithCancel(ctx)
	scraped := make(chan error, 1)
	go func() { scraped <- scrapeUntil(scraping, s.http, scrapeEvery) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-scraped)
	}()
	return measure(ctx, b.window, probe{cpu: s.gateway.cpu, frames: func() (int64, error) { return s.worker.count(ctx) }}, l.delivery())
}

// scrapeUntil asks for metrics at an address, again and again, until ctx ends.
func scrapeUntil(ctx context.Context, addr string, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
		if err != nil {
			return err
		}
		r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("%w: the gateway tells no metrics: %w", errChild, err)
		}
		_, err = io.Copy(io.Discard, answer.Body)
		if _ = answer.Body.Close(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("%w: the gateway's metrics: %w", errChild, err)
		}
	}
}

// sink takes traces as a collector does, and forgets them.
type sink struct {
	collector.UnimplementedTraceServiceServer
	address string
	server  *grpc.Server
	serving sync.WaitGroup
}

// startSink starts one on a free port. stop must be called.
func startSink(ctx context.Context) (*sink, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for traces: %w", err)
	}
	s := &sink{address: l.Addr().String(), server: grpc.NewServer()}
	collector.RegisterTraceServiceServer(s.server, s)
	s.serving.Go(func() { _ = s.server.Serve(l) }) // until it is stopped
	return s, nil
}

// Export implements the collector's service.
func (s *sink) Export(context.Context, *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	return &collector.ExportTraceServiceResponse{}, nil
}

func (s *sink) stop() {
	s.server.Stop()
	s.serving.Wait()
}
