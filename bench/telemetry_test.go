package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// TestScrapeUntil asks again and again, in the format that has exemplars, and says when nobody answers.
func TestScrapeUntil(t *testing.T) {
	ctx, cancel := context.WithCancel(testContext(t))
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if asked++; asked == 3 {
			cancel()
		}
		if r.URL.Path != "/metrics" || !strings.Contains(r.Header.Get("Accept"), "openmetrics") {
			t.Errorf("%s %v", r.URL, r.Header)
		}
	}))
	addr := strings.TrimPrefix(server.URL, "http://")
	if err := scrapeUntil(ctx, addr, time.Millisecond); err != nil || asked < 3 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	server.Close()
	if err := scrapeUntil(testContext(t), addr, time.Millisecond); !errors.Is(err, errChild) {
		t.Errorf("nobody answers: %v", err)
	}
}

// TestSinkTakesTraces sends it one, and stops it.
func TestSinkTakesTraces(t *testing.T) {
	s, err := startSink(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	conn, err := grpc.NewClient(s.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := collector.NewTraceServiceClient(conn).Export(testContext(t), &collector.ExportTraceServiceRequest{}); err != nil {
		t.Error(err)
	}
}
