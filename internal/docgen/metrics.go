package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/penstock-media/penstock/service/metrics"
)

// metricsTarget is the page of metrics.
const metricsTarget = "docs/metrics.md"

// renderMetrics returns the page of metrics, from the table that their instruments are made of.
func renderMetrics() []byte {
	var b bytes.Buffer
	b.WriteString(`# Metrics

<!-- Made by internal/docgen from the table in service/metrics; edit that, and run make generate. -->

` + "`GET /metrics`" + ` on the HTTP address, or on ` + "`--metrics-addr`" + `, gives these in Prometheus's text format, and in OpenMetrics where that is asked for, with the ids of
sampled traces as exemplars on histograms. With ` + "`OTEL_METRICS_EXPORTER=otlp`" + ` they are pushed too, over gRPC, as the ` + "`OTEL_EXPORTER_OTLP_…`" + ` variables say.

Labels have the values that are listed, and ` + "`other`" + ` for any other: what callers send makes no series. Nothing tells a session, a participant, a track, a tenant or an
address. Counters begin with the process. Histograms are of seconds.

Beside them there are the usual ` + "`go_…`" + ` and ` + "`process_…`" + ` of Prometheus's Go client, and how the exposition itself fares in ` + "`promhttp_…`" + `, where there is anything to tell. The chart has a dashboard
and alerts on them (` + "`helm/dashboards`, `helm/rules`" + `); [operations.md](operations.md) tells what to look at in which fault.
`)
	for _, s := range metrics.Table() {
		fmt.Fprintf(&b, "\n## %s\n\n| metric | type | labels | meaning | what to do |\n| --- | --- | --- | --- | --- |\n", s.Title)
		for _, m := range s.Metrics {
			fmt.Fprintf(&b, "| `%s` | %s%s | %s | %s | %s |\n", m.Name, m.Kind, unitOf(m), labelsOf(m), cell(m.Help), cell(m.Do))
		}
	}
	return b.Bytes()
}

// unitOf names the unit of a metric that has one.
func unitOf(m metrics.Metric) string {
	switch m.Unit {
	case "":
		return ""
	case "By":
		return ", bytes"
	case "s":
		return ", seconds"
	default:
		return ", " + m.Unit
	}
}

// labelsOf lists labels and their values.
func labelsOf(m metrics.Metric) string {
	all := make([]string, 0, len(m.Labels))
	for _, l := range m.Labels {
		text := "`" + l.Name + "`"
		if !l.Process {
			text += ": " + strings.Join(l.Values, ", ")
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

// generateMetrics writes the page below a root directory.
func generateMetrics(root string) error {
	return os.WriteFile(root+"/"+metricsTarget, renderMetrics(), 0o644) //nolint:gosec // documentation
}
