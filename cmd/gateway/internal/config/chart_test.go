package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// chart reads a file of the Helm chart.
func chart(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../../../helm", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// named returns what the first group of a pattern finds, without doubles.
func named(text, pattern string) []string {
	var all []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestO5_ChartUsesRealSettings(t *testing.T) {
	known := environment()
	var values struct{ Config map[string]any }
	if err := yaml.Unmarshal([]byte(chart(t, "values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	helpers := chart(t, "templates/_helpers.tpl")
	used := slices.Concat(named(helpers, `set \$c "([a-z0-9-]+)"`), named(helpers, `"([a-z0-9-]+)" \(printf ":?%vs?"`),
		named(chart(t, "templates/validate.yaml"), `"([a-z0-9]+(?:-[a-z0-9]+)+|insecure)" "`))
	for name := range values.Config {
		used = append(used, name)
	}
	if len(used) < 50 {
		t.Fatalf("only %d settings are found in the chart: %v", len(used), used)
	}
	for _, name := range used {
		if _, ok := known[name]; !ok {
			t.Errorf("the chart uses the setting %q, which there is not", name)
		}
	}
	variables := named(helpers, `(PENSTOCK_[A-Z_]+)[\n"]`)
	if len(variables) < 4 {
		t.Fatalf("only %v are found", variables)
	}
	for _, variable := range variables {
		if name := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, "PENSTOCK_"), "_", "-")); known[name] != variable {
			t.Errorf("the chart sets %s, which there is not", variable)
		}
	}
}

// TestO5_ChartKnowsDefaults shows that the chart reckons with the defaults that there are.
func TestO5_ChartKnowsDefaults(t *testing.T) {
	var values struct{ Drain map[string]int }
	if err := yaml.Unmarshal([]byte(chart(t, "values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	d := Default()
	for name, want := range map[string]time.Duration{"endpointGraceSeconds": d.EndpointGrace, "drainGraceSeconds": d.DrainGrace, "stopTimeoutSeconds": d.StopTimeout} {
		if got := time.Duration(values.Drain[name]) * time.Second; got != want {
			t.Errorf("drain.%s is %v, and the gateway's own %v", name, got, want)
		}
	}
	if want := fmt.Sprintf(`"max-sessions" | default %d |`, d.MaxSessions); !strings.Contains(chart(t, "templates/hpa.yaml"), want) {
		t.Errorf("templates/hpa.yaml has no %q", want)
	}
}

// TestO5_ChartKeepsItsOwnSettings shows that no setting that the chart decides itself passes as an entry of config.
func TestO5_ChartKeepsItsOwnSettings(t *testing.T) {
	refused := named(chart(t, "templates/validate.yaml"), `"([a-z0-9-]+)" "`)
	for _, name := range named(chart(t, "templates/_helpers.tpl"), `set \$c "([a-z0-9-]+)"`) {
		if !slices.Contains(refused, name) {
			t.Errorf("templates/validate.yaml lets config.%s pass, which the chart decides itself", name)
		}
	}
}
