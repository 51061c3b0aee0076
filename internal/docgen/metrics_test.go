package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/service/metrics"
)

// TestO2_MetricsPageIsCurrent: the page is what the table says, with a row for each metric.
func TestO2_MetricsPageIsCurrent(t *testing.T) {
	got, err := os.ReadFile(filepath.Join(root, metricsTarget))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, renderMetrics()) {
		t.Errorf("%s is not what the table says: run make generate", metricsTarget)
	}
	rows := 0
	for _, s := range metrics.Table() {
		for _, m := range s.Metrics {
			if rows++; strings.Count(string(got), "\n| `"+m.Name+"` |") != 1 {
				t.Errorf("%s has not one row for %s", metricsTarget, m.Name)
			}
		}
	}
	if rows < 60 {
		t.Errorf("the table has but %d metrics", rows)
	}
}
