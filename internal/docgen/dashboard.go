package main

import (
	"encoding/json"
	"os"
)

// dashboardTarget is the dashboard of the chart.
const dashboardTarget = "helm/dashboards/penstock.json"

// panel is one panel of the dashboard: its queries in PromQL, each with its legend.
type panel struct {
	title, unit, text string
	queries           [][2]string
}

// row is a row of panels.
type row struct {
	title  string
	panels []panel
}

// Parts of queries. The pod's label comes from Kubernetes; without it Prometheus's own tells instances apart.
const (
	of    = `{pod=~"$pod"}`
	byPod = `sum by (pod, instance) `
	one   = `{{pod}} {{instance}}`
)

// total returns a query of the rate of a counter by a label, over all pods chosen.
func total(metric, label string) [2]string {
	return [2]string{`sum by (` + label + `) (rate(` + metric + of + `[$__rate_interval]))`, `{{` + label + `}}`}
}

// each returns a query of the rate of a counter by pod.
func each(metric string) [2]string {
	return [2]string{byPod + `(rate(` + metric + of + `[$__rate_interval]))`, one}
}

// now returns a query of a gauge by pod.
func now(metric string) [2]string { return [2]string{byPod + `(` + metric + of + `)`, one} }

// quantile returns a query of a quantile of a histogram over all pods chosen, by a label or none.
func quantile(q, metric, label string) [2]string {
	by, legend := "le", "p"+q[2:]
	if label != "" {
		by, legend = "le, "+label, legend+" {{"+label+"}}"
	}
	return [2]string{`histogram_quantile(` + q + `, sum by (` + by + `) (rate(` + metric + `_bucket` + of + `[$__rate_interval])))`, legend}
}

// dashboard returns the rows, from what callers notice to what lies under it.
func dashboard() []row {
	return []row{
		{"At a glance", []panel{
			{"Sessions", "short", "Of the limit of each pod.", [][2]string{now("penstock_sessions"), {`sum(penstock_sessions_limit` + of + `)`, "limit of all"}}},
			{"Tracks", "short", "", [][2]string{{`sum by (kind, state) (penstock_tracks` + of + `)`, `{{kind}} {{state}}`}}},
			{"Consumers", "short", "", [][2]string{{`sum by (format) (penstock_consumers` + of + `)`, `{{format}}`}}},
			{"First frame", "s", "From the header of a stream to its first frame.", [][2]string{quantile("0.50", "penstock_stream_first_frame_seconds", "kind"), quantile("0.95", "penstock_stream_first_frame_seconds", "kind")}},
			{"Errors", "reqps", "gRPC calls that ended with an error of the gateway's own, by reason.", [][2]string{total("penstock_errors_total", "reason")}},
			{"Degraded and draining", "short", "Redis cannot be reached; told to stop.", [][2]string{{`sum(penstock_degraded` + of + `)`, "degraded"}, {`sum(penstock_draining` + of + `)`, "draining"}}},
		}},
		{"Streams", []panel{
			{"Streams", "short", "", [][2]string{now("penstock_streams")}},
			{"Ends of streams", "ops", "", [][2]string{total("penstock_streams_ended_total", "reason")}},
			{"Opening and resolution", "s", "From the call to the header, and the wait for the track.", [][2]string{quantile("0.95", "penstock_stream_open_seconds", ""), quantile("0.95", "penstock_resolve_seconds", "result")}},
			{"Frames", "ops", "Made for consumers.", [][2]string{total("penstock_frames_total", "kind")}},
			{"Drops", "ops", "Frames that consumers did not get.", [][2]string{total("penstock_frames_dropped_total", "reason")}},
			{"Queues", "bytes", "What waits for consumers, and the longest queue.", [][2]string{now("penstock_consumer_queue_bytes"), {`max by (pod, instance) (penstock_consumer_queue_longest_bytes` + of + `)`, `longest ` + one}}},
		}},
		{"Media", []panel{
			{"Packets", "pps", "", [][2]string{total("penstock_packets_received_total", "kind")}},
			{"Bit rate received", "bps", "", [][2]string{{`8 * sum by (kind) (rate(penstock_packets_received_bytes_total` + of + `[$__rate_interval]))`, `{{kind}}`}}},
			{"Packet loss", "percentunit", "Packets that never came, or too late.", [][2]string{{`sum by (kind) (rate(penstock_packets_lost_total` + of + `[$__rate_interval])) / (sum by (kind) (rate(penstock_packets_received_total` + of +
				`[$__rate_interval])) + sum by (kind) (rate(penstock_packets_lost_total` + of + `[$__rate_interval])))`, `{{kind}}`}}},
			{"Repair", "pps", "Packets asked for again, and those that then came.", [][2]string{{`sum(rate(penstock_packets_nacked_total` + of + `[$__rate_interval]))`, "asked for"}, {`sum(rate(penstock_packets_repaired_total` + of + `[$__rate_interval]))`, "came"}}},
			{"Key frames", "ops", "", [][2]string{total("penstock_key_frame_requests_total", "result"), {`sum(rate(penstock_key_frames_total` + of + `[$__rate_interval]))`, "received"}}},
			{"Socket overflow", "pps", "Packets that the kernel dropped.", [][2]string{each("penstock_socket_overflows_total")}},
		}},
		{"Decoding", []panel{
			{"Decode pool", "percentunit", "The share of the workers' time.", [][2]string{{`avg by (pod, instance) (penstock_decode_pool_busy_ratio` + of + `)`, one}}},
			{"Waiting for a worker", "short", "", [][2]string{{`sum by (kind) (penstock_decode_pool_queue` + of + `)`, `{{kind}}`}}},
			{"Time to decode", "s", "Of one unit, by codec.", [][2]string{{`sum by (codec) (rate(penstock_decode_seconds_total` + of + `[$__rate_interval])) / sum by (codec) (rate(penstock_decoded_total` + of + `[$__rate_interval]))`, `{{codec}}`}}},
			{"Decoded", "ops", "", [][2]string{total("penstock_decoded_total", "codec")}},
			{"Not decoded", "ops", "", [][2]string{{`sum by (kind, reason) (rate(penstock_units_dropped_total` + of + `[$__rate_interval]))`, `{{kind}} {{reason}}`}}},
			{"Lightened", "short", "How far, 0 to 4, and how many tracks are suspended.", [][2]string{{`max by (pod, instance) (penstock_quality_limit` + of + `)`, one}, {`sum(penstock_tracks_suspended` + of + `)`, "suspended"}}},
		}},
		{"Calls and negotiation", []panel{
			{"gRPC calls", "reqps", "", [][2]string{total("penstock_grpc_calls_total", "method")}},
			{"gRPC latency", "s", "Of unary calls.", [][2]string{quantile("0.95", "penstock_grpc_call_seconds", "method")}},
			{"HTTP requests", "reqps", "", [][2]string{{`sum by (route, code) (rate(penstock_http_requests_total` + of + `[$__rate_interval]))`, `{{route}} {{code}}`}}},
			{"Offers", "ops", "", [][2]string{total("penstock_offers_total", "result")}},
			{"Ends of sessions", "ops", "", [][2]string{total("penstock_sessions_ended_total", "reason")}},
			{"Candidates refused", "ops", "", [][2]string{total("penstock_candidates_refused_total", "reason")}},
		}},
		{"Pods and Redis", []panel{
			{"Take-overs", "ops", "", [][2]string{{`sum(rate(penstock_sessions_taken_over_total` + of + `[$__rate_interval]))`, "taken over"}, {`sum(rate(penstock_sessions_handed_over_total` + of + `[$__rate_interval]))`, "handed over"},
				{`sum(rate(penstock_sessions_deposed_total` + of + `[$__rate_interval]))`, "deposed"}, {`sum(rate(penstock_sessions_drained_total` + of + `[$__rate_interval]))`, "ended by a drain"}}},
			{"Forwards", "reqps", "", [][2]string{{`sum by (type, result) (rate(penstock_forwarded_calls_total` + of + `[$__rate_interval]))`, `{{type}} {{result}}`}, {`sum by (cause) (rate(penstock_forwards_refused_total` + of + `[$__rate_interval]))`, "refused: {{cause}}"}}},
			{"Forwarded", "Bps", "What came from other pods for callers here.", [][2]string{each("penstock_forwarded_received_bytes_total")}},
			{"Redis", "s", "How long commands take.", [][2]string{quantile("0.50", "penstock_store_command_seconds", ""), quantile("0.99", "penstock_store_command_seconds", "")}},
			{"Redis faults", "ops", "", [][2]string{each("penstock_store_failures_total"), {`sum(rate(penstock_store_losses_total` + of + `[$__rate_interval]))`, "lost leases"}}},
			{"Sessions by pod", "short", "Owned, and those whose newest state is not stored.", [][2]string{now("penstock_store_sessions_owned"), {`sum(penstock_store_sessions_ahead` + of + `)`, "not stored"}}},
		}},
		{"Process", []panel{
			{"Memory", "bytes", "", [][2]string{now("process_resident_memory_bytes")}},
			{"Go memory", "bytes", "", [][2]string{now("penstock_go_heap_objects_bytes"), {byPod + `(penstock_go_stack_bytes` + of + `)`, `stacks ` + one}}},
			{"C memory", "bytes", "", [][2]string{now("penstock_c_heap_used_bytes"), {byPod + `(penstock_c_memory_bytes` + of + `)`, `counted ` + one}}},
			{"CPU", "short", "Cores.", [][2]string{each("process_cpu_seconds_total")}},
			{"Goroutines", "short", "", [][2]string{now("go_goroutines")}},
			{"Versions", "short", "", [][2]string{{`count by (version, go_version) (penstock_build_info` + of + `)`, `{{version}} {{go_version}}`}}},
		}},
	}
}

// object is one of JSON.
type object = map[string]any

// renderDashboard returns the dashboard in Grafana's format (schema 39, Grafana 10.3 and later).
func renderDashboard() ([]byte, error) {
	const width, height, columns = 8, 8, 3
	source := object{"type": "prometheus", "uid": "${datasource}"}
	panels, y, id := []object{}, 0, 1
	for _, r := range dashboard() {
		panels = append(panels, object{"type": "row", "title": r.title, "id": id, "collapsed": false, "panels": []object{}, "gridPos": object{"x": 0, "y": y, "w": 24, "h": 1}})
		y, id = y+1, id+1
		for i, p := range r.panels {
			targets := make([]object, 0, len(p.queries))
			for n, q := range p.queries {
				targets = append(targets, object{"refId": string(rune('A' + n)), "expr": q[0], "legendFormat": q[1], "datasource": source, "exemplar": true, "editorMode": "code", "range": true})
			}
			panels = append(panels, object{
				"type": "timeseries", "title": p.title, "description": p.text, "id": id, "datasource": source, "targets": targets,
				"gridPos":     object{"x": i % columns * width, "y": y + i/columns*height, "w": width, "h": height},
				"fieldConfig": object{"defaults": object{"unit": p.unit, "min": 0, "custom": object{"fillOpacity": 10, "showPoints": "never"}}, "overrides": []object{}},
				"options":     object{"legend": object{"displayMode": "list", "placement": "bottom"}, "tooltip": object{"mode": "multi", "sort": "desc"}},
			})
			id++
		}
		y += (len(r.panels) + columns - 1) / columns * height
	}
	b, err := json.MarshalIndent(object{
		"uid": "penstock", "title": "Penstock", "tags": []string{"penstock"}, "schemaVersion": 39, "version": 1, "editable": true, "refresh": "30s", "timezone": "browser",
		"time": object{"from": "now-1h", "to": "now"}, "annotations": object{"list": []object{}}, "links": []object{}, "panels": panels,
		"templating": object{"list": []object{
			{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0, "refresh": 1},
			{
				"name": "pod", "label": "Pod", "type": "query", "datasource": source, "query": object{"query": "label_values(penstock_build_info, pod)", "refId": "pod"},
				"definition": "label_values(penstock_build_info, pod)", "refresh": 2, "includeAll": true, "multi": true, "allValue": ".*", "current": object{"text": "All", "value": "$__all"}, "sort": 1, "hide": 0,
			},
		}},
	}, "", "  ")
	return append(b, '\n'), err
}

// generateDashboard writes the dashboard below a root directory.
func generateDashboard(root string) error {
	b, err := renderDashboard()
	if err != nil {
		return err
	}
	return os.WriteFile(root+"/"+dashboardTarget, b, 0o644) //nolint:gosec // no secret
}
