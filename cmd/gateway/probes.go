package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
	"github.com/penstock-media/penstock/service"
)

// probesTimeout bounds a connection of a probe from its first byte to its last: nothing is waited for to answer it.
const probesTimeout = 3 * time.Second

// newProbes returns the handler of /healthz and /readyz. degraded tells whether the shared store cannot be reached: that is told,
// and takes nothing out of service, since one blip would else empty every endpoint at once.
func newProbes(svc *service.Service, degraded func() bool) http.Handler {
	mux := http.NewServeMux()
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
	return mux
}

// newProbesServer returns the server of probes alone, for an address of their own. Each connection gets one answer.
func newProbesServer(probes http.Handler, log *slog.Logger) *http.Server {
	s := &http.Server{
		Handler: probes, ReadHeaderTimeout: probesTimeout, ReadTimeout: probesTimeout, WriteTimeout: probesTimeout,
		MaxHeaderBytes: config.Default().MaxHeaderBytes, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.SetKeepAlivesEnabled(false)
	return s
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
