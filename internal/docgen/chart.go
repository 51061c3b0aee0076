package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	valuesSource = "helm/values.yaml"
	chartTarget  = "helm/README.md"
	// valuesMark is where in the prose the tables of values go.
	valuesMark = "<!-- values -->\n"
	// namesTarget are the names of settings, by which the chart refuses others.
	namesTarget = "helm/settings.yaml"
	// headingMark begins a heading among the values.
	headingMark = "# -- "
)

// chartProse is the page of the chart without its values.
//
//go:embed chart.md
var chartProse []byte

// generateChart writes the page of the chart, and the names of settings that it knows, below a root directory.
func generateChart(root string) error {
	names, err := renderNames(filepath.Join(root, settingsSource))
	if err != nil {
		return fmt.Errorf("%s: %w", settingsSource, err)
	}
	if err := os.WriteFile(filepath.Join(root, namesTarget), names, 0o644); err != nil { //nolint:gosec // part of the chart
		return err
	}
	values, err := os.ReadFile(root + "/" + valuesSource)
	if err != nil {
		return err
	}
	page, err := renderChart(values)
	if err != nil {
		return fmt.Errorf("%s: %w", valuesSource, err)
	}
	return os.WriteFile(root+"/"+chartTarget, page, 0o644) //nolint:gosec // documentation
}

// renderNames returns the names of settings, each with whether it is a secret.
func renderNames(dir string) ([]byte, error) {
	all, err := readSettings(dir)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("# The settings of the gateway. Made by internal/docgen from " + settingsSource + "; edit that, and run make generate.\n")
	for _, s := range all {
		sort := "plain"
		if s.kind == "Secret" {
			sort = "secret"
		}
		fmt.Fprintf(&b, "%s: %s\n", s.tag.Get("name"), sort)
	}
	return b.Bytes(), nil
}

// value is one value of the chart, as the page shows it.
type value struct {
	key      string // with dots
	fallback string // the default, as JSON
	text     string
}

// valueSection is the values below one heading, which a comment "-- Heading" begins.
type valueSection struct {
	heading string
	values  []value
}

// renderChart returns the page, with a table of values for each section.
func renderChart(values []byte) ([]byte, error) {
	sections, err := parseValues(values)
	if err != nil {
		return nil, err
	}
	var tables bytes.Buffer
	for _, s := range sections {
		fmt.Fprintf(&tables, "### %s\n\n| value | default | |\n| --- | --- | --- |\n", s.heading)
		for _, v := range s.values {
			fmt.Fprintf(&tables, "| `%s` | `%s` | %s |\n", v.key, cell(v.fallback), cell(v.text))
		}
		tables.WriteString("\n")
	}
	return bytes.Replace(chartProse, []byte(valuesMark), bytes.TrimSuffix(tables.Bytes(), []byte("\n")), 1), nil
}

// cell escapes what would end a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// parseValues reads the values in their order.
func parseValues(b []byte) ([]valueSection, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("is not a mapping")
	}
	headings := headingsOf(b)
	var sections []valueSection
	root := doc.Content[0]
	for i := 0; i < len(root.Content); i += 2 {
		key, node := root.Content[i], root.Content[i+1]
		for len(headings) > 0 && headings[0].line < key.Line {
			sections = append(sections, valueSection{heading: headings[0].text})
			headings = headings[1:]
		}
		if len(sections) == 0 {
			return nil, fmt.Errorf("line %d: %s is below no heading (# -- Heading)", key.Line, key.Value)
		}
		last := &sections[len(sections)-1]
		var err error
		if last.values, err = appendValue(last.values, "", key, node); err != nil {
			return nil, err
		}
	}
	return sections, nil
}

// heading begins a section. The parser gives such a comment to the value before or after, as blank lines are: they are read by line instead.
type heading struct {
	line int
	text string
}

func headingsOf(b []byte) (all []heading) {
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		if text, ok := strings.CutPrefix(line, headingMark); ok {
			all = append(all, heading{n, strings.TrimSpace(text)})
		}
	}
	return all
}

// appendValue appends a value, or those below it.
func appendValue(all []value, parent string, key, node *yaml.Node) ([]value, error) {
	name := parent + key.Value
	if node.Kind == yaml.MappingNode && len(node.Content) > 0 && !isWhole(name) {
		for i := 0; i < len(node.Content); i += 2 {
			var err error
			if all, err = appendValue(all, name+".", node.Content[i], node.Content[i+1]); err != nil {
				return nil, err
			}
		}
		return all, nil
	}
	var plain any
	if err := node.Decode(&plain); err != nil {
		return nil, fmt.Errorf("line %d: %w", key.Line, err)
	}
	fallback, err := json.Marshal(plain)
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", key.Line, err)
	}
	return append(all, value{name, string(fallback), uncomment(key.HeadComment)}), nil
}

// isWhole tells which mappings are shown as they are: what is in them is not the chart's.
func isWhole(name string) bool {
	switch name {
	case "config", "resources", "podSecurityContext", "containerSecurityContext", "dashboards.labels":
		return true
	default:
		return false
	}
}

// uncomment returns the text of a comment in one line.
func uncomment(comment string) string {
	var words []string
	for line := range strings.Lines(comment) {
		if strings.HasPrefix(line, headingMark) {
			continue
		}
		words = append(words, strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "#"))...)
	}
	return strings.Join(words, " ")
}
