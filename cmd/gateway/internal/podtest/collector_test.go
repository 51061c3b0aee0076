package podtest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// collector takes traces over OTLP, as a collector of an operator does.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	addr string

	mu      sync.Mutex
	changed chan struct{} // closed and replaced with every batch
	spans   []span
}

// span is a span as it came, with what process it is of.
type span struct {
	*tracev1.Span
	instance string // the incarnation of the pod
	scope    string
}

// startCollector starts one, for the length of the test.
func startCollector(t *testing.T) *collector {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	c := &collector{addr: l.Addr().String(), changed: make(chan struct{})}
	server := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, c)
	serving(t, server, l)
	return c
}

// serving has a server serve a listener until the test ends.
func serving(t *testing.T, server *grpc.Server, l net.Listener) {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; !errors.Is(err, grpc.ErrServerStopped) { // it says so if it had not begun to serve when it was stopped
			must(t, err)
		}
	})
}

// Export implements collectorv1.TraceServiceServer.
func (c *collector) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range r.GetResourceSpans() {
		instance := ""
		for _, a := range of.GetResource().GetAttributes() {
			if a.GetKey() == "service.instance.id" {
				instance = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, span{s, instance, scope.GetScope().GetName()})
			}
		}
	}
	close(c.changed)
	c.changed = make(chan struct{})
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

// all returns the spans that came and that a test wants, and what is closed when more come.
func (c *collector) all(wanted func(span) bool) (found []span, more <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if wanted(s) {
			found = append(found, s)
		}
	}
	return found, c.changed
}

// await waits until spans that a test wants are as they must be, and returns them.
func (c *collector) await(ctx context.Context, t *testing.T, what string, wanted func(span) bool, so func([]span) bool) []span {
	t.Helper()
	for {
		found, more := c.all(wanted)
		if so(found) {
			return found
		}
		select {
		case <-more:
		case <-ctx.Done():
			t.Fatalf("never came: %s; there are\n%s", what, tree(found, nil))
		}
	}
}

// ofTrace wants the spans of one trace.
func ofTrace(id string) func(span) bool {
	return func(s span) bool { return hex.EncodeToString(s.GetTraceId()) == id }
}

// length is how long a span lasted.
func (s span) length() time.Duration {
	return time.Duration(s.GetEndTimeUnixNano() - s.GetStartTimeUnixNano()) //nolint:gosec // of one test
}

// text is an attribute's value, or "".
func (s span) text(key string) string {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == key {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

// events are the names of its events.
func (s span) events() (names []string) {
	for _, e := range s.GetEvents() {
		names = append(names, e.GetName())
	}
	return names
}

// named finds a span by its name.
func named(spans []span, name string) (found []span) {
	for _, s := range spans {
		if s.GetName() == name {
			found = append(found, s)
		}
	}
	return found
}

// tree writes spans as a tree, each under its parent, in the order of their beginnings; pods are named as a test does. What has no parent among them is a root.
func tree(spans []span, pods map[string]string) string {
	known := make(map[string]bool)
	for _, s := range spans {
		known[string(s.GetSpanId())] = true
	}
	children := make(map[string][]span)
	for _, s := range spans {
		parent := string(s.GetParentSpanId())
		if !known[parent] {
			parent = ""
		}
		children[parent] = append(children[parent], s)
	}
	var b strings.Builder
	var write func(parent, indent string)
	write = func(parent, indent string) {
		under := children[parent]
		slices.SortStableFunc(under, func(a, b span) int {
			return int(int64(a.GetStartTimeUnixNano()) - int64(b.GetStartTimeUnixNano())) //nolint:gosec // of one test
		})
		for _, s := range under {
			pod := s.instance
			if name, ok := pods[pod]; ok {
				pod = name
			}
			fmt.Fprintf(&b, "%s%s %s\n", indent, pod, s.GetName())
			write(string(s.GetSpanId()), indent+"  ")
		}
	}
	write("", "")
	return b.String()
}
