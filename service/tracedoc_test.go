package service

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// constants returns the string constants of a file whose names begin with a prefix.
func constants(t *testing.T, file, prefix string) (values []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	must(t, err)
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Names) != 1 || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		value := spec.Values[0]
		if call, ok := value.(*ast.CallExpr); ok && len(call.Args) == 1 {
			value = call.Args[0]
		}
		if text, ok := value.(*ast.BasicLit); ok && text.Kind == token.STRING {
			v, err := strconv.Unquote(text.Value)
			must(t, err)
			values = append(values, v)
		}
		return true
	})
	return values
}

// TestO1_SpansAreDocumented: the page of traces has a row for each span that there is, and none for another; it names what it says of the bounds.
func TestO1_SpansAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/tracing.md")
	must(t, err)
	made := append(constants(t, "span.go", "span"), "rtcpool.negotiate", "WHIP POST") // of other packages
	if len(made) < 18 {
		t.Fatalf("the code makes only %q", made)
	}
	_, table, _ := strings.Cut(string(page), "| span | from, to | tells |")
	table, _, _ = strings.Cut(table, "\n\n")
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1) {
		rows = append(rows, m[1])
	}
	slices.Sort(made)
	slices.Sort(rows)
	if !slices.Equal(made, rows) {
		t.Errorf("the code makes\n%q\ndocs/tracing.md tells of\n%q", made, rows)
	}
	for _, name := range constants(t, "span.go", "attr") {
		if !strings.Contains(name, ".") {
			t.Errorf("the attribute %q has no namespace", name)
		}
	}
	for _, bound := range []string{
		strconv.Itoa(maxCallSpans) + " spans of what it waits for", strconv.Itoa(maxCallEvents) + " events after its opening", "longer than " + defaultSpanLimit.String(),
	} {
		if !strings.Contains(strings.ReplaceAll(string(page), "10 s", "10s"), bound) {
			t.Errorf("docs/tracing.md does not say %q", bound)
		}
	}
}
