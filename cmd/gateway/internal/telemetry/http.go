package telemetry

import (
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// HTTP returns a handler that gives each request below a path a span of a name and its method, as a child of the caller's (traceparent in the request's header), and
// next the context with it. Where tracing is off it is next itself. Preflight requests (OPTIONS) have none: they do nothing.
func (t *Telemetry) HTTP(name, path string, next http.Handler) http.Handler {
	if t.traces == nil {
		return next
	}
	tracer := t.Tracer("github.com/penstock-media/penstock/cmd/gateway/http")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions || !strings.HasPrefix(r.URL.Path, path) {
			next.ServeHTTP(w, r)
			return
		}
		ctx := t.propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := tracer.Start(ctx, name+" "+method(r.Method), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
			attribute.String("http.request.method", method(r.Method)), attribute.String("url.path", shownPath(r.URL.Path, path)),
		))
		defer span.End()
		said := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(said, r.WithContext(ctx))
		span.SetAttributes(attribute.Int("http.response.status_code", said.status))
		if said.status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, http.StatusText(said.status))
		}
	})
}

// shownPath is what is told of a path below another one: its first part. What follows is a publication's own, and whoever knows it may end that.
func shownPath(path, below string) string {
	first, _, more := strings.Cut(strings.TrimPrefix(path, below), "/")
	if more {
		first += "/..."
	}
	return below + first
}

// method returns a method that is in use, else what OpenTelemetry's conventions say for others: names of spans are few.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return m
	}
	return "_OTHER"
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap gives http.ResponseController what it needs.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
