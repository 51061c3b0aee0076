package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/penstock-media/penstock/service/metrics"
)

// shown is what Grafana reads of a dashboard.
type shown struct {
	UID, Title    string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type string }
	}
	Panels []struct {
		ID          int
		Type, Title string
		GridPos     struct{ X, Y, W, H int }
		Datasource  struct{ Type, UID string }
		Targets     []struct{ RefID, Expr, LegendFormat string }
	}
}

func readDashboard(t *testing.T) shown {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, dashboardTarget))
	if err != nil {
		t.Fatal(err)
	}
	want, err := renderDashboard()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("%s is not what the generator makes: run make generate", dashboardTarget)
	}
	var d shown
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestO2_DashboardIsSound: panels have ids and places of their own, a data source that is a variable, and queries of metrics that there are, for the pods chosen.
func TestO2_DashboardIsSound(t *testing.T) {
	d := readDashboard(t)
	if d.UID == "" || d.SchemaVersion < 36 || len(d.Templating.List) != 2 || d.Templating.List[0].Type != "datasource" || d.Templating.List[1].Name != "pod" {
		t.Errorf("%+v", d)
	}
	ids, places, queries := map[int]bool{}, map[[2]int]string{}, 0
	for _, p := range d.Panels {
		if p.ID == 0 || ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := places[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s lies over %q at %d, %d", p.Title, other, x, y)
				}
				places[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("%s: %+v", p.Title, p)
		}
		for _, q := range p.Targets {
			queries++
			checkQuery(t, p.Title, q.Expr, nil)
			if !strings.Contains(q.Expr, `{pod=~"$pod"}`) || q.LegendFormat == "" {
				t.Errorf("%s: %s is not of the pods chosen, or has no legend", p.Title, q.Expr)
			}
		}
	}
	if queries < 40 {
		t.Errorf("only %d queries", queries)
	}
}

// rules is a file of rules.
type rules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Record, Alert, Expr string
			Labels, Annotations map[string]string
		}
	}
}

// TestO2_RulesAreSound: every rule is of metrics that there are, or of rules before it; alerts say what is the matter, how bad it is and what to do.
func TestO2_RulesAreSound(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "helm/rules/penstock.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var all rules
	if err := yaml.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	var recorded []string
	alerts := map[string]bool{}
	for _, g := range all.Groups {
		for _, r := range g.Rules {
			checkQuery(t, r.Record+r.Alert, r.Expr, recorded)
			if r.Record != "" {
				recorded = append(recorded, r.Record)
				continue
			}
			if alerts[r.Alert] || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || !strings.HasSuffix(r.Annotations["description"], ".") {
				t.Errorf("%+v", r)
			}
			alerts[r.Alert] = true
		}
	}
	for _, name := range []string{"Degraded", "DecodePoolSaturated", "NearSessionLimit", "FramesDropped", "CMemoryGrows", "ForwardsRefused", "SessionsTakenOver", "SocketOverflow"} {
		if !alerts["Penstock"+name] {
			t.Errorf("no alert tells of %s", name)
		}
	}
}

// checkQuery finds names in a query that are neither metrics nor recorded before, and labels that those do not have.
func checkQuery(t *testing.T, where, query string, recorded []string) {
	t.Helper()
	name := regexp.MustCompile(`\b(?:penstock|go|process)[_:][a-z0-9_:]+(\{[^}]*\})?`)
	matcher := regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"`)
	found := name.FindAllString(query, -1)
	if len(found) == 0 {
		t.Errorf("%s: %s asks for nothing of ours", where, query)
	}
	for _, one := range found {
		one, labels, _ := strings.Cut(one, "{")
		if one == "go_version" || slices.Contains(recorded, one) || slices.Contains([]string{"go_goroutines", "process_resident_memory_bytes", "process_cpu_seconds_total"}, one) {
			continue
		}
		m, ok := metrics.Find(strings.TrimSuffix(one, "_bucket"))
		if !ok || strings.HasSuffix(one, "_bucket") != (m.Kind == metrics.Durations) {
			t.Errorf("%s: there is no %s", where, one)
			continue
		}
		for _, l := range matcher.FindAllStringSubmatch(labels, -1) {
			if l[1] == "pod" {
				continue
			}
			i := slices.IndexFunc(m.Labels, func(o metrics.Label) bool { return o.Name == l[1] })
			if i < 0 {
				t.Errorf("%s: %s has no label %s", where, one, l[1])
				continue
			}
			for v := range strings.SplitSeq(l[2], "|") {
				if !slices.Contains(m.Labels[i].Values, v) {
					t.Errorf("%s: %s is never %s=%q", where, one, l[1], v)
				}
			}
		}
	}
}
