package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/penstock-media/penstock/cmd/gateway/internal/certs"
	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
	"github.com/penstock-media/penstock/cmd/gateway/internal/connlimit"
	"github.com/penstock-media/penstock/cmd/gateway/internal/localtcp"
	"github.com/penstock-media/penstock/cmd/gateway/internal/telemetry"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
	"github.com/penstock-media/penstock/service"
	"github.com/penstock-media/penstock/service/metrics"
)

var (
	// errNotClosed means that something did not close in time.
	errNotClosed = errors.New("did not close in time")
	// errCut means that sessions were ended that another pod could have gone on with.
	errCut = errors.New("sessions were ended by the drain's deadline")
)

// gateway is everything that `gateway serve` runs. Its methods are safe for concurrent use after Start.
type gateway struct {
	cfg     config.Config
	log     *slog.Logger
	service *service.Service
	pool    *rtcpool.Pool
	certs   *certs.Certs // nil without TLS
	secrets []*secrets   // of files that are read again
	sealing leaseSeals   // of the pods' secrets
	grpc    *grpc.Server
	http    *http.Server
	probes  http.Handler // of /healthz and /readyz

	decoders *media.DecodePool
	metrics  *telemetry.Metrics
	tell     *telemetry.Telemetry
	measures *metrics.Set

	incarnation string                     // by which this process owns sessions
	degraded    func() bool                // the shared store cannot be reached
	storeStats  func() resolverstore.Stats // of the store that pods share; nil where there is none

	grpcListener, httpListener *connlimit.Listener
	aside                      map[string]*connlimit.Listener // those of operators, by what they are for; not changed once Start has returned
	debugAddr                  string                         // empty where nobody asked for it
	metricsAddr                string                         // empty where that is the HTTP address
	healthAddr                 string                         // the same of probes
	failed                     chan error                     // what ended serving: room for each server
	closers                    []closer
}

// closer is a part that must be closed, with the name it has in errors.
type closer struct {
	name  string
	close func(ctx context.Context) error
}

// newGateway builds a gateway that does not listen yet, from a configuration that is complete and valid. Close must
// be called.
func newGateway(ctx context.Context, cfg config.Config, log *slog.Logger) (*gateway, error) {
	g := &gateway{cfg: cfg, log: log, incarnation: rand.Text(), aside: make(map[string]*connlimit.Listener), failed: make(chan error, 5)}
	if err := g.build(ctx); err != nil {
		return nil, errors.Join(err, g.close(ctx))
	}
	return g, nil
}

func (g *gateway) build(ctx context.Context) error {
	tell, err := telemetry.New(ctx, telemetry.Config{
		Endpoint: g.cfg.OTLPEndpoint, Sample: g.cfg.TraceSample, CallersRate: g.cfg.TraceCallersRate, PodSecrets: g.cfg.PodSecrets(),
		Version: buildVersion(), Instance: g.incarnation, Logger: g.log,
	})
	if err != nil {
		return fmt.Errorf("set up telemetry: %w", err)
	}
	g.tell = tell
	g.onClose("telemetry", func(ctx context.Context) error { tell.Shutdown(ctx); return nil })
	if g.metrics, err = tell.Metrics(ctx); err != nil {
		return fmt.Errorf("set up metrics: %w", err)
	}
	g.onClose("metrics", func(ctx context.Context) error { g.metrics.Shutdown(ctx); return nil })
	if g.measures, err = metrics.New(g.metrics.Meter("github.com/penstock-media/penstock")); err != nil {
		return fmt.Errorf("set up metrics: %w", err)
	}

	decoders := media.NewDecodePool(g.cfg.DecodeWorkers, media.WithQueueBytes(int64(g.cfg.MaxQueuedBytes)))
	g.decoders = decoders
	g.onClose("decoders", func(context.Context) error { decoders.Close(); return nil })

	address, err := g.listenGRPC(ctx)
	if err != nil {
		return err
	}
	store, err := g.openStore(ctx, address)
	if err != nil {
		return err
	}
	g.onClose("store", func(context.Context) error { return store.Close() })

	network, err := networkOf(&g.cfg)
	if err != nil {
		return err
	}
	pool, err := rtcpool.New(rtcpool.Config{
		Decoders: decoders, Logger: g.log, Tracer: tell.Tracer("github.com/penstock-media/penstock/rtcpool"),
		GatherTimeout: g.cfg.GatherTimeout, Grace: g.cfg.SessionGrace, MaxSDPBytes: g.cfg.MaxSDPBytes,
		Loopback: g.cfg.LoopbackICE(), UDPPortMin: g.cfg.UDPPortMin, UDPPortMax: g.cfg.UDPPortMax,
		AnnouncedIPs: g.cfg.AnnouncedIPs, MaxPicturePixels: g.cfg.MaxPicturePixels, Network: network,
	})
	if err != nil {
		return fmt.Errorf("set up peer connections: %w", err)
	}
	g.onClose("peer connections", pool.Close)
	g.pool = pool

	if err := g.openCerts(); err != nil {
		return err
	}
	cfg := service.Config{
		OwnerAddress: address, PodSecrets: g.cfg.PodSecrets(), Busy: func() float64 { return decoders.Stats().Busy },
		Pool: pool, Store: store, Logger: g.log, Metrics: g.measures, TracerProvider: tell.TracerProvider(), Propagator: tell.Propagator(), Owner: g.incarnation,
		WHIPCreate: g.cfg.WHIPCreate, Grace: g.cfg.SessionGrace, EndpointGrace: g.endpointGrace(), StallTimeout: g.cfg.StallTimeout,
		Limits: limitsOf(&g.cfg),
	}
	g.secure(&cfg)
	g.service, err = service.New(cfg)
	if err != nil {
		return fmt.Errorf("set up the service: %w", err)
	}
	g.onClose("service", func(context.Context) error { g.service.Close(); return nil })
	g.keepPodSecrets()
	if err := g.measures.Register(g.measure); err != nil {
		return err
	}
	return g.buildServers()
}

// listenGRPC takes the address of the gRPC API, before other pods are told of it, and returns what they are told. It is served from Start on.
func (g *gateway) listenGRPC(ctx context.Context) (address string, err error) {
	l, err := localtcp.Listen(ctx, "tcp", g.cfg.GRPCAddr)
	if err != nil {
		return "", fmt.Errorf("--grpc-addr: %w; is another gateway running, or does the address belong to another machine?", err)
	}
	g.grpcListener = limited(l, &g.cfg)
	g.onClose("gRPC listener", func(context.Context) error { _ = l.Close(); return nil }) // the server has closed it, if it was served
	return podAddress(&g.cfg, l)
}

func (g *gateway) buildServers() error {
	opts := g.grpcCredentials()
	g.grpc = g.service.NewServer(opts...)
	g.onClose("gRPC server", g.stopGRPC)
	g.probes = newProbes(g.service, g.degraded)
	var err error
	if g.http, err = newHTTPServer(g.cfg, g.service, g.probes, g.metrics.Handler(), g.measures, g.log); err != nil {
		return fmt.Errorf("set up HTTP: %w", err)
	}
	g.http.Handler = g.tell.HTTP("WHIP", "/whip/", g.http.Handler)
	g.http.TLSConfig = g.httpTLS()
	g.onClose("HTTP server", g.stopHTTP)
	return nil
}

// onClose notes how a part that was built is closed. Parts are closed in reverse.
func (g *gateway) onClose(name string, f func(ctx context.Context) error) {
	g.closers = append(g.closers, closer{name, f})
}

// Start listens, and serves in the background until Close.
func (g *gateway) Start() error {
	var lc net.ListenConfig
	web, err := lc.Listen(context.Background(), "tcp", g.cfg.HTTPAddr)
	if err != nil {
		return fmt.Errorf("--http-addr: %w; is another gateway running, or does the address belong to another machine?", err)
	}
	g.httpListener = limited(web, &g.cfg)
	g.pool.Protect(addrPortOf(g.grpcListener), addrPortOf(g.httpListener))
	grpcServed, httpServed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(grpcServed)
		g.report("gRPC", g.grpc.Serve(g.grpcListener))
	}()
	go func() {
		defer close(httpServed)
		if g.http.TLSConfig != nil {
			g.report("HTTP", g.http.ServeTLS(g.httpListener, "", ""))
			return
		}
		g.report("HTTP", g.http.Serve(g.httpListener))
	}()
	// Servers are closed after this in reverse, and before it is waited for.
	g.closers = slices.Insert(g.closers, 0, closer{"listeners", func(ctx context.Context) error {
		return errors.Join(await(ctx, grpcServed), await(ctx, httpServed))
	}})
	if g.cfg.HealthAddr != "" {
		if g.healthAddr, err = g.serveAside("health-addr", g.cfg.HealthAddr, newProbesServer(measured(g.probes, g.measures), g.log)); err != nil {
			return err
		}
	}
	if g.cfg.MetricsAddr != "" {
		if g.metricsAddr, err = g.serveAside("metrics-addr", g.cfg.MetricsAddr, newMetricsServer(g.metrics.Handler())); err != nil {
			return err
		}
	}
	if err := g.serveDebug(); err != nil {
		return err
	}
	if err := g.measures.Register(g.observeConnections); err != nil {
		return err
	}
	g.log.Info("serving", "grpc", g.GRPCAddr(), "http", g.HTTPAddr(), "metrics", g.MetricsAddr(), "health", g.HealthAddr(), "version", buildVersion(), "incarnation", g.incarnation)
	return nil
}

// report tells Failed why a server ended, unless it was asked to.
func (g *gateway) report(name string, err error) {
	if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) {
		g.failed <- fmt.Errorf("%s server: %w", name, err)
	}
}

// Failed gives the error that ended one of the servers.
func (g *gateway) Failed() <-chan error { return g.failed }

// HealthAddr returns the address that probes are to ask. It is known after Start.
func (g *gateway) HealthAddr() string {
	if g.healthAddr == "" {
		return g.HTTPAddr()
	}
	return g.healthAddr
}

// GRPCAddr returns the address that gRPC listens on. It is known after Start.
func (g *gateway) GRPCAddr() string { return g.grpcListener.Addr().String() }

// HTTPAddr returns the address that HTTP listens on. It is known after Start.
func (g *gateway) HTTPAddr() string { return g.httpListener.Addr().String() }

// MetricsAddr returns the address that /metrics is served on. It is known after Start.
func (g *gateway) MetricsAddr() string {
	if g.metricsAddr == "" {
		return g.HTTPAddr()
	}
	return g.metricsAddr
}

// Close drains for the configured graces, or until ctx ends, then closes everything in the reverse order of its
// construction, by force where it takes longer than the configured time. It must be called once. errCut where pods share sessions, and some could not be handed over;
// errNotClosed.
func (g *gateway) Close(ctx context.Context) error {
	g.log.Info("draining", "grace", g.cfg.DrainGrace, "endpoint_grace", g.endpointGrace(), "sessions", g.service.Sessions())
	drained := g.service.Drain(ctx, g.cfg.DrainGrace)
	g.log.Info("drained", "handed_over", drained.HandedOver, "sessions_ended", drained.Cut, "calls_ended", drained.Calls)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.StopTimeout)
	defer cancel()
	err := g.close(stop)
	if drained.Cut > 0 && g.cfg.RedisURL != "" {
		err = errors.Join(err, fmt.Errorf("%w: %d", errCut, drained.Cut))
	}
	g.log.Info("stopped")
	return err
}

// endpointGrace is for pods that share sessions.
func (g *gateway) endpointGrace() time.Duration {
	if g.cfg.RedisURL == "" {
		return 0
	}
	return g.cfg.EndpointGrace
}

// close closes what was built. A part that does not close within ctx is left, and told.
func (g *gateway) close(ctx context.Context) error {
	var errs []error
	for _, c := range slices.Backward(g.closers) {
		done := make(chan error, 1)
		go func() { done <- c.close(ctx) }()
		select {
		case err := <-done:
			if err != nil {
				errs = append(errs, fmt.Errorf("close %s: %w", c.name, err))
			}
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("close %s: %w", c.name, errNotClosed))
		}
	}
	return errors.Join(errs...)
}

// stopGRPC lets calls end for half of the time that is left, then ends them.
func (g *gateway) stopGRPC(ctx context.Context) error {
	ctx, cancel := half(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, g.grpc.Stop)
	defer stop()
	g.grpc.GracefulStop()
	return nil
}

// stopHTTP does the same for HTTP.
func (g *gateway) stopHTTP(ctx context.Context) error {
	ctx, cancel := half(ctx)
	defer cancel()
	if g.http.Shutdown(ctx) == nil {
		return nil
	}
	return g.http.Close()
}

// half returns a context that ends after half of the time that ctx has left, so that what comes after has time too.
func half(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/2)
}

// await waits for a channel to be closed.
func await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errNotClosed
	}
}
