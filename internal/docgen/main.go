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
	b.WriteString(errorsTail)
	return b.Bytes(), nil
}

// errorsTail is what the page says after the table.
const errorsTail = `
In a ` + "`Signal`" + ` stream a request that is refused gets these as ` + "`SignalError`" + `: code, reason, metadata and ` + "`retry_after`" + `. WHIP tells them by HTTP statuses and problem
documents (RFC 9457): 429 and 503 come with Retry-After.

## Errors of gRPC itself

What the transport refuses before the gateway sees the call has no ` + "`ErrorInfo`" + `:

| status | when |
| --- | --- |
| ` + "`RESOURCE_EXHAUSTED`" + ` | A message has more than 4 MiB, or is compressed in a way that makes it larger; the text has both sizes. Counted as the limit ` + "`message_bytes`" + `. |
| ` + "`CANCELLED`" + ` | The first message of a call did not come within ` + "`--request-timeout`" + `. Counted as ` + "`request_time`" + `. A ` + "`Signal`" + ` stream gets DEADLINE instead. |
| ` + "`INTERNAL`, `UNIMPLEMENTED`" + ` | It is not a gRPC request, or its compression is not known. |
| ` + "`DEADLINE_EXCEEDED`, `CANCELLED`" + ` | The client's own library gave up, whatever the gateway said; nobody else can see the reason CANCELLED. |
| a stream that is refused (REFUSED_STREAM) | The connection has more calls than ` + "`--max-connection-streams`" + `. gRPC clients wait instead. |
| a connection that is closed | ` + "`--max-connections`, `--max-connections-per-address`, `--handshake-timeout`, `--connection-idle`" + `; headers beyond ` + "`--max-header-bytes`" + `; too many pings (ENHANCE_YOUR_CALM). |
`
