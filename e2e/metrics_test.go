//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	rulesFile     = "../helm/rules/penstock.yaml"
	dashboardFile = "../helm/dashboards/penstock.json"
)

// TestO2_RulesHoldWhatTheySay has promtool check the chart's rules, and try them on series in which all is well, and in which faults are.
func TestO2_RulesHoldWhatTheySay(t *testing.T) {
	promtool, dir := program(t, "PROMTOOL", "promtool"), t.TempDir()
	for from, to := range map[string]string{rulesFile: "penstock.yaml", "testdata/rules_test.yaml": "rules_test.yaml"} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"check", "rules", filepath.Join(dir, "penstock.yaml")}, {"test", "rules", filepath.Join(dir, "rules_test.yaml")}} {
		if _, err := run(t.Context(), promtool, args...); err != nil {
			t.Error(err)
		}
	}
}

// prometheus is a running Prometheus.
type prometheus struct{ addr string }

// startPrometheus starts one that scrapes gateways every second and has the chart's rules. Gateways are named as pods are in Kubernetes.
func startPrometheus(t *testing.T, pods map[string]string) *prometheus {
	t.Helper()
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	config := "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [" + strconv.Quote(rules) + "]\nscrape_configs:\n  - job_name: penstock\n    static_configs:\n"
	for name, addr := range pods {
		config += fmt.Sprintf("      - {targets: [%q], labels: {pod: %q}}\n", addr, name)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &prometheus{addr: "127.0.0.1:" + freePort(t)}
	daemon(t, program(t, "PROMETHEUS", "prometheus"), "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+p.addr, "--enable-feature=exemplar-storage")
	await(t, "Prometheus is ready", func() bool {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.addr+"/-/ready", nil)
		if err != nil {
			return false
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	return p
}

// get asks the API of Prometheus.
func (p *prometheus) get(ctx context.Context, path string, query url.Values, to any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+"/api/v1/"+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	said := struct {
		Status, Error string
		Data          any
	}{Data: to}
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
		return err
	}
	if said.Status != "success" {
		return fmt.Errorf("%s %v: %s", path, query, said.Error)
	}
	return nil
}

// query returns the figures that a query gives.
func (p *prometheus) query(t *testing.T, expr string) (figures []float64) {
	t.Helper()
	var data struct {
		Result []struct{ Value [2]any }
	}
	if err := p.get(t.Context(), "query", url.Values{"query": {expr}}, &data); err != nil {
		t.Fatal(err)
	}
	for _, r := range data.Result {
		text, _ := r.Value[1].(string)
		figure, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		figures = append(figures, figure)
	}
	return figures
}

// above tells whether a query gives a figure that is more than a bound.
func (p *prometheus) above(t *testing.T, expr string, bound float64) bool {
	t.Helper()
	for _, f := range p.query(t, expr) {
		if f > bound {
			return true
		}
	}
	return false
}

// TestO2_PrometheusAnswersTheDashboard has Chromium publish into one of two gateways on a Redis and workers stream from both, and asks a real Prometheus, which scrapes them, every
// query of the dashboard: each gives figures, and those of what goes on are not 0. All rules are well, and latencies have exemplars that name traces.
func TestO2_PrometheusAnswersTheDashboard(t *testing.T) {
	const session = "o2"
	t.Setenv("PENSTOCK_POD_SECRET", "0123456789abcdef0123456789abcdef")
	redis := redisForMetrics(t)
	gateways, pods := map[string]*gatewayProcess{}, map[string]string{}
	for _, name := range []string{"penstock-a", "penstock-b"} {
		g := serve(t, "--redis-url=redis://"+redis, "--endpoint-grace=0s", "--otlp-endpoint=http://127.0.0.1:9")
		gateways[name], pods[name] = g, g.http
	}
	p := startPrometheus(t, pods)
	b := publish(t, "http://"+gateways["penstock-a"].http+"/whip/"+session+"?user=ann", opus, "video/VP8")
	b.wait(t, "answered", nil)
	b.wait(t, "state", func(s string) bool { return s == "connected" })
	for _, source := range []string{"camera", "microphone"} {
		for _, g := range gateways {
			daemon(t, program(t, "GATEWAY", "gateway"), "stream", "--session="+session, "--user=ann", "--source="+source, "--addr="+g.grpc)
		}
	}
	await(t, "Prometheus has seen streams for a while, and calls that came after the first of their kind", func() bool {
		for name, g := range gateways {
			for _, args := range [][]string{{"stream", "--frames=3"}, {"snapshot", "--out=" + filepath.Join(t.TempDir(), name+".jpg")}} {
				if _, err := g.worker(t, append(args, "--session="+session, "--user=ann", "--source=camera")...); err != nil {
					t.Fatal(err)
				}
			}
		}
		return p.above(t, `sum(rate(penstock_stream_first_frame_seconds_count{kind="video"}[1m]))`, 0) &&
			p.above(t, `sum(rate(penstock_grpc_call_seconds_count{method="TrackService/GetFrame"}[1m]))`, 0) &&
			p.above(t, `min(count_over_time(penstock_streams[1m]))`, 5) &&
			p.above(t, `sum(increase(penstock_decoded_total{codec="vp8"}[5s]))`, 10) && p.above(t, `sum(increase(penstock_forwarded_received_bytes_total[5s]))`, 1000)
	})
	askDashboard(t, p)
	askRules(t, p)
	var exemplars []struct {
		Exemplars []struct{ Labels map[string]string }
	}
	from := strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)
	query := url.Values{"query": {"penstock_stream_first_frame_seconds_bucket"}, "start": {from}, "end": {strconv.FormatInt(time.Now().Add(time.Minute).Unix(), 10)}}
	if err := p.get(t.Context(), "query_exemplars", query, &exemplars); err != nil {
		t.Fatal(err)
	}
	if len(exemplars) == 0 || !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(exemplars[0].Exemplars[0].Labels["trace_id"]) {
		t.Errorf("exemplars: %v", exemplars)
	}
	ending(t, gateways["penstock-b"], b, session)
}

// askDashboard asks every query.
func askDashboard(t *testing.T, p *prometheus) {
	t.Helper()
	b, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &dashboard); err != nil {
		t.Fatal(err)
	}
	busy := map[string]bool{}
	for _, title := range []string{
		"Sessions", "Tracks", "Consumers", "Streams", "First frame", "Opening and resolution", "Frames", "Packets", "Bit rate received", "Time to decode", "Decoded", "Decode pool",
		"gRPC calls", "gRPC latency", "HTTP requests", "Forwarded", "Redis", "Sessions by pod", "Memory", "Go memory", "C memory", "CPU", "Goroutines", "Versions",
	} {
		busy[title] = true
	}
	for _, panel := range dashboard.Panels {
		for i, q := range panel.Targets {
			expr := strings.NewReplacer("$__rate_interval", "1m", "$pod", ".*").Replace(q.Expr)
			if got := p.query(t, expr); len(got) == 0 {
				t.Errorf("%s: %s gives nothing", panel.Title, expr)
			} else if busy[panel.Title] && i == 0 && !p.above(t, expr, 0) {
				t.Errorf("%s: %s gives %v, though there is traffic", panel.Title, expr, got)
			}
		}
		delete(busy, panel.Title)
	}
	if len(busy) > 0 {
		t.Errorf("no panels of %v", busy)
	}
}

// askRules finds every rule well, and figures for those that are recorded.
func askRules(t *testing.T, p *prometheus) {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Type, Health, LastError string }
		}
	}
	if err := p.get(t.Context(), "rules", nil, &data); err != nil {
		t.Fatal(err)
	}
	rules := 0
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			rules++
			if r.Health != "ok" {
				t.Errorf("%s: %s, %s", r.Name, r.Health, r.LastError)
			}
			if r.Type == "recording" && len(p.query(t, r.Name)) == 0 {
				t.Errorf("%s records nothing", r.Name)
			}
		}
	}
	if rules < 20 {
		t.Errorf("only %d rules", rules)
	}
	if firing := p.query(t, `ALERTS{alertstate="firing",severity="critical"}`); len(firing) > 0 {
		t.Errorf("%d alerts fire though all is well", len(firing))
	}
}

// redisForMetrics starts a Redis, and returns its address.
func redisForMetrics(t *testing.T) string {
	t.Helper()
	port := freePort(t)
	daemon(t, program(t, "REDIS_SERVER", "redis-server"), "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	await(t, "Redis answers", func() bool {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
		return err == nil && conn.Close() == nil
	})
	return "127.0.0.1:" + port
}
