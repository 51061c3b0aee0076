package main

import (
	"bytes"
	_ "embed"
	"html/template"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"
	"strings"
	"time"

	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/service"
)

// What the live page shows at the most: it is made anew every two seconds, and is for eyes.
const (
	liveSessions = 100
	liveTracks   = 20
)

// debugWriteTimeout leaves room for the longest profile that anybody asks for.
const debugWriteTimeout = 5 * time.Minute

//go:embed debug.html.tmpl
var debugPage string

// liveView is what the live page shows.
type liveView struct {
	Version, Incarnation string
	Up                   time.Duration
	Sessions             []service.LiveSession
	All                  int // sessions that there are
	Draining             bool
	Stats                service.Stats
	Pool                 media.PoolStats
	Consumers            media.ConsumerTotals
	Goroutines           int
	GRPC, HTTP           int // connections
}

// BusyPercent is the share of the decoders' time that is used.
func (l liveView) BusyPercent() float64 { return 100 * l.Pool.Busy }

// newDebugServer returns the server of --debug-addr: Go's profiles, and a page of what happens now. Both tell ids, and neither any secret.
func (g *gateway) newDebugServer() (*http.Server, error) {
	page, err := template.New("live").Parse(debugPage)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer
		if err := page.Execute(&b, g.live(begun)); err != nil {
			g.log.Error("making the live page", "error", err)
			http.Error(w, "the page could not be made; the log has more", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		_, _ = b.WriteTo(w) // the reader went away
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return &http.Server{
		Handler: addressed(mux), ReadHeaderTimeout: httpHeaderTimeout, ReadTimeout: httpReadTimeout, WriteTimeout: debugWriteTimeout, IdleTimeout: httpIdleTimeout,
		MaxHeaderBytes: g.cfg.MaxHeaderBytes,
	}, nil
}

// addressed refuses requests by a host's name other than localhost: a page of the web could have its own name resolved to this machine, and so read what
// a browser here reaches (DNS rebinding).
func addressed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if host = strings.Trim(host, "[]"); host != "localhost" && net.ParseIP(host) == nil {
			http.Error(w, "ask for it by address, or as localhost", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serveDebug serves at --debug-addr, if there is one.
func (g *gateway) serveDebug() error {
	if g.cfg.DebugAddr == "" {
		return nil
	}
	server, err := g.newDebugServer()
	if err != nil {
		return err
	}
	g.debugAddr, err = g.serveAside("debug-addr", g.cfg.DebugAddr, server)
	if err == nil {
		g.log.Info("serving profiles and the live page", "debug", g.debugAddr)
	}
	return err
}

// live collects what the page shows.
func (g *gateway) live(begun time.Time) liveView {
	l := liveView{
		Version: buildVersion(), Incarnation: g.incarnation, Up: time.Since(begun).Round(time.Second), Draining: g.service.Draining(),
		Stats: g.service.Stats(), Pool: g.decoders.Stats(), Consumers: g.decoders.Totals().Consumers, Goroutines: runtime.NumGoroutine(),
		GRPC: g.grpcListener.Stats().Open, HTTP: g.httpListener.Stats().Open,
	}
	l.Sessions, l.All = g.service.Live(liveSessions, liveTracks)
	return l
}
