package main

import (
	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-media/penstock/service/metrics"
)

// measured counts and times the requests that a handler answers.
func measured(next http.Handler, set *metrics.Set) http.Handler {
	requests, seconds := set.Counter("penstock_http_requests_total"), set.Histogram("penstock_http_request_seconds")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun, route := time.Now(), routeOf(r.URL.Path)
		told := &statusWriter{ResponseWriter: w, status: http.StatusInternalServerError}
		defer func() {
			requests.Add(1, route, r.Method, strconv.Itoa(told.status/100)+"xx")
			seconds.Record(r.Context(), time.Since(begun).Seconds(), route)
		}()
		next.ServeHTTP(told, r)
		told.settle()
	})
}

// routeOf is a path as the value of a label: the first part of those that are served.
func routeOf(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first // others count as one
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
	told   bool
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(code int) {
	if code >= http.StatusOK && !w.told {
		w.status, w.told = code, true
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *statusWriter) Write(b []byte) (int, error) {
	w.settle()
	return w.ResponseWriter.Write(b)
}

// settle notes the status of an answer that names none.
func (w *statusWriter) settle() {
	if !w.told {
		w.status, w.told = http.StatusOK, true
	}
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// newMetricsServer returns the server of /metrics for an address of its own. It tells no names and no secrets, and is plain HTTP.
func newMetricsServer(handler http.Handler) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", handler)
	return &http.Server{
		Handler: mux, ReadHeaderTimeout: httpHeaderTimeout, ReadTimeout: httpReadTimeout, WriteTimeout: httpWriteTimeout, IdleTimeout: httpIdleTimeout,
		MaxHeaderBytes: config.Default().MaxHeaderBytes,
	}
}
