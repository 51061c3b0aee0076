package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestChartPageIsCurrent(t *testing.T) {
	values, err := os.ReadFile(filepath.Join(root, valuesSource))
	if err != nil {
		t.Fatal(err)
	}
	want, err := renderChart(values)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, chartTarget))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the values say: run make generate", chartTarget)
	}
}

func TestO5_ChartKnowsTheNamesOfSettings(t *testing.T) {
	want, err := renderNames(filepath.Join(root, settingsSource))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, namesTarget))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code says: run make generate", namesTarget)
	}
	for _, line := range []string{"\nmax-sessions: plain\n", "\nauth-token: secret\n", "\nauth-token-file: plain\n"} {
		if !bytes.Contains(got, []byte(line)) {
			t.Errorf("%s has no line %q", namesTarget, line)
		}
	}
	if _, err := renderNames(t.TempDir()); err == nil {
		t.Error("no settings are taken for settings")
	}
}

func TestChartPageShowsValuesInTheirOrder(t *testing.T) {
	page, err := renderChart([]byte(`# What this file is.

# -- First

# Of a | b.
# More of it.
one: 1
two:
  # Inside.
  three: ""
  four: [x]

# -- Second

# As it is.
config:
  log-format: json
`))
	if err != nil {
		t.Fatal(err)
	}
	want := "### First\n\n| value | default | |\n| --- | --- | --- |\n" +
		"| `one` | `1` | Of a \\| b. More of it. |\n| `two.three` | `\"\"` | Inside. |\n| `two.four` | `[\"x\"]` |  |\n\n" +
		"### Second\n\n| value | default | |\n| --- | --- | --- |\n| `config` | `{\"log-format\":\"json\"}` | As it is. |\n"
	if !strings.HasSuffix(string(page), want) {
		t.Errorf("got\n%s\nwant at its end\n%s", page[bytes.Index(page, []byte("## Values")):], want)
	}
}

func TestChartValuesThatAreRefused(t *testing.T) {
	for values, want := range map[string]string{
		"":                   "not a mapping",
		"- a":                "not a mapping",
		"a: [":               "yaml",
		"# x\na: 1":          "no heading",
		"# -- H\na: {1: *x}": "anchor",
	} {
		if _, err := renderChart([]byte(values)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", values, err, want)
		}
	}
}

// TestO5_SchemaAndValuesAgree shows that the chart's schema knows every value, and no other, as far down as they are the chart's own.
func TestO5_SchemaAndValuesAgree(t *testing.T) {
	var values map[string]any
	var schema schemaNode
	for name, into := range map[string]any{valuesSource: &values, "helm/values.schema.json": &schema} {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(b, into); err != nil { // JSON is YAML
			t.Fatal(err)
		}
	}
	delete(schema.Properties, "global") // Helm's
	if n := agree(t, "", values, schema, schema.Definitions); n < 100 {
		t.Errorf("only %d values were compared", n)
	}
}

// schemaNode is what this test reads of a JSON schema.
type schemaNode struct {
	Ref         string `yaml:"$ref"`
	Closed      any    `yaml:"additionalProperties"` // false: nothing but Properties
	Properties  map[string]schemaNode
	Definitions map[string]schemaNode
}

// agree compares values with a schema, and returns how many there are.
func agree(t *testing.T, path string, values map[string]any, schema schemaNode, definitions map[string]schemaNode) (n int) {
	t.Helper()
	if schema.Closed != false {
		t.Errorf("%s: the schema lets other values pass", path)
	}
	for key := range schema.Properties {
		if _, ok := values[key]; !ok && path != ".resources" {
			t.Errorf("%s.%s is in the schema, and not in values.yaml", path, key)
		}
	}
	for key, v := range values {
		n++
		s, ok := schema.Properties[key]
		if !ok {
			t.Errorf("%s.%s is in values.yaml, and not in the schema", path, key)
			continue
		}
		if name, ok := strings.CutPrefix(s.Ref, "#/definitions/"); ok {
			s = definitions[name]
		}
		if below, ok := v.(map[string]any); ok && s.Properties != nil {
			n += agree(t, path+"."+key, below, s, definitions)
		}
	}
	return n
}
