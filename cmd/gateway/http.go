package main

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
	"github.com/penstock-media/penstock/connector/whip"
	"github.com/penstock-media/penstock/service"
	"github.com/penstock-media/penstock/service/metrics"
)

// Bounds of HTTP connections, so that a client that sends or reads slowly holds nothing for long. An answer to an
// offer takes as long as ICE gathers, which the configuration bounds; it is added to httpWriteTimeout.
const (
	httpHeaderTimeout = 5 * time.Second
	httpReadTimeout   = 15 * time.Second
	httpWriteTimeout  = 20 * time.Second
	httpIdleTimeout   = time.Minute
)

// newHTTPServer returns the server of WHIP and of health, which probes serves. told serves
// /metrics, unless that has an address of its own, and measures takes what is measured here.
func newHTTPServer(cfg config.Config, svc *service.Service, probes, told http.Handler, measures *metrics.Set, log *slog.Logger) (*http.Server, error) {
	publish, err := whip.New(whip.Config{
		Sessions: svc.WHIP(), Reason: service.WHIPReason, Elsewhere: svc.WHIPElsewhere, Authorize: svc.AuthorizeWHIP, AllowedOrigins: cfg.WHIPOrigins,
		MaxBodyBytes: int64(cfg.MaxSDPBytes), Logger: log,
	})
	if err != nil {
		return nil, err
	}
	svc.HandleWHIP(publish)
	mux := http.NewServeMux()
	mux.Handle("/whip/", limitWHIP(svc.LimitWHIP, publish))
	mux.Handle("/healthz", probes)
	mux.Handle("/readyz", probes)
	if cfg.MetricsAddr == "" {
		mux.Handle("GET /metrics", told)
	}
	return &http.Server{
		Handler:           measured(mux, measures),
		ReadHeaderTimeout: httpHeaderTimeout,
		ReadTimeout:       httpReadTimeout,
		WriteTimeout:      httpWriteTimeout + cfg.GatherTimeout,
		IdleTimeout:       httpIdleTimeout,
		MaxHeaderBytes:    cfg.MaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}, nil
}
