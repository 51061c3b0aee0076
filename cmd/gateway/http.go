package main

import (
	"encoding/json"
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

// newHTTPServer returns the server of WHIP and of health. degraded tells whether the shared store cannot be reached: that is told,
// and takes nothing out of service, since one blip would else empty every endpoint at once. told serves
// /metrics, unless that has an address of its own, and measures takes what is measured here.
func newHTTPServer(cfg config.Config, svc *service.Service, degraded func() bool, told http.Handler, measures *metrics.Set, log *slog.Logger) (*http.Server, error) {
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
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, health{Status: "alive"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		h := health{Status: "ready", Version: buildVersion(), Sessions: svc.Sessions()}
		code := http.StatusOK
		if degraded() {
			h.Store, h.Degraded = "unavailable", true
		}
		if svc.Draining() {
			h.Status, code = "draining", http.StatusServiceUnavailable
		}
		writeJSON(w, code, h)
	})
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

// health is the body of /healthz and /readyz.
type health struct {
	Status   string `json:"status"`
	Version  string `json:"version,omitempty"`
	Sessions int    `json:"sessions"`
	Degraded bool   `json:"degraded,omitempty"`
	Store    string `json:"store,omitempty"` // "unavailable" while the shared store cannot be reached
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the client went away
}
