package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestMetricsOfMemory reads /metrics: each gauge once, with help and type, and figures that a process has.
func TestMetricsOfMemory(t *testing.T) {
	w := httptest.NewRecorder()
	serveMetrics(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body := w.Body.String()
	if kind := w.Header().Get("Content-Type"); !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
		t.Errorf("it is %q", kind)
	}
	for _, g := range memoryGauges() {
		if n := strings.Count(body, "\n"+g.name+" "); n != 1 || !strings.Contains(body, fmt.Sprintf("# HELP %s %s\n# TYPE %s gauge\n", g.name, g.help, g.name)) {
			t.Errorf("%s stands there %d times in\n%s", g.name, n, body)
		}
		switch g.name {
		case "penstock_go_heap_objects_bytes", "penstock_go_stack_bytes", "penstock_go_memory_bytes", "penstock_c_heap_used_bytes":
			if g.value < 10_000 {
				t.Errorf("%s is %d", g.name, g.value)
			}
		default:
			if g.value < 0 {
				t.Errorf("%s is %d", g.name, g.value)
			}
		}
	}
}
