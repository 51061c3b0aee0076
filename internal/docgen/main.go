// Command docgen writes docs/errors.md from the comments of the ErrorReason enum: what every error of the API means and what
// to do about it; helm/README.md from the comments of the chart's values; docs/metrics.md from the table of metrics, and the dashboard of the chart; and
// docs/configuration.md from the structs of the configuration. `make generate` runs it in the root of the tree.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

const (
	source = "api/penstock/v1/error_reason.proto"
	target = "docs/errors.md"
	prefix = "ERROR_REASON_"
)

func main() {
	if err := errors.Join(generate("."), generateChart("."), generateMetrics("."), generateTrace("."), generateDashboard("."), generateSettings(".")); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

// generate writes the target below a root directory.
func generate(root string) error {
	proto, err := os.ReadFile(root + "/" + source)
	if err != nil {
		return err
	}
	page, err := render(proto)
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	return os.WriteFile(root+"/"+target, page, 0o644) //nolint:gosec // documentation
}

// reason is one value of the enum.
type reason struct {
	name   string // without the prefix
	status string // the gRPC status code that it comes with
	text   string // what it means and what to do
}

// parse reads the values in order, each with the comment above it: "STATUS. What it means. What to do."
func parse(proto []byte) ([]reason, error) {
	value := regexp.MustCompile(`^\s+` + prefix + `([A-Z_]+) = (\d+);`)
	status := regexp.MustCompile(`^([A-Z_]+)\. (.+)$`)
	var all []reason
	var comment []string
	for line := range strings.Lines(string(proto)) {
		line = strings.TrimRight(line, "\n")
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "//"); ok {
			comment = append(comment, strings.TrimSpace(text))
			continue
		}
		if m := value.FindStringSubmatch(line); m != nil && m[2] != "0" {
			parts := status.FindStringSubmatch(strings.Join(comment, " "))
			if parts == nil {
				return nil, fmt.Errorf("the comment of %s does not begin with a status code and a full stop", m[1])
			}
			all = append(all, reason{m[1], parts[1], parts[2]})
		}
		comment = nil
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no value begins with %s", prefix)
	}
	return all, nil
}

// render returns the page.
func render(proto []byte) ([]byte, error) {
	reasons, err := parse(proto)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(`# Errors

<!-- Made by internal/docgen from ` + source + `; edit that, and run make generate. -->

Every error of the gRPC API carries a ` + "`google.rpc.ErrorInfo`" + ` with the domain ` + "`penstock`" + ` and one of these reasons. A wrong
field of the request is named in ` + "`google.rpc.BadRequest`" + `; where trying again helps, ` + "`google.rpc.RetryInfo`" + ` says when.

| reason | status | meaning, and what to do |
| --- | --- | --- |
`)
	for _, r := range reasons {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", r.name, r.status, strings.ReplaceAll(r.text, "|", `\|`))
	}
	return b.Bytes(), nil
}
