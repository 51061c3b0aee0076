package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service"
)

// TestMetricsOfMemory reads /metrics: each gauge once, with help and type, and figures that a process has.
func TestMetricsOfMemory(t *testing.T) {
	w := httptest.NewRecorder()
	serveMetrics(func() []gauge { return nil })(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
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

// TestMetricsOfSharing: each figure has a name of its own, says what it is, and counts what it is named after.
func TestMetricsOfSharing(t *testing.T) {
	all := append(ownershipGauges(service.Stats{TakenOver: 1, Deposed: 2, HandedOver: 3, Drained: 4, Degraded: true, StoreLost: 5, ForwardsRefused: 17}),
		storeGauges(resolverstore.Stats{Pods: 6, Held: 7, Owned: 8, Ahead: 9, Failures: 10, Losses: 11, Pauses: 12, Rewritten: 13, Reconciled: 14, Fenced: 15, Corrupt: 16})...)
	w := httptest.NewRecorder()
	serveMetrics(func() []gauge { return all })(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	seen := map[int64]string{}
	for _, g := range all {
		if g.name == "penstock_degraded" {
			continue
		}
		if other, ok := seen[g.value]; ok || g.value == 0 {
			t.Errorf("%s is %d, as is %q", g.name, g.value, other)
		}
		seen[g.value] = g.name
	}
	for _, want := range []string{"# TYPE penstock_degraded gauge\npenstock_degraded 1\n", "# TYPE penstock_sessions_deposed_total counter\npenstock_sessions_deposed_total 2\n"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%q is not in\n%s", want, w.Body)
		}
	}
}
