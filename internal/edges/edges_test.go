package edges

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/penstock-media/penstock/"

// edge says what a package, and those below it, may import of this module, and which other modules it must have
// for itself.
type edge struct {
	path    string
	imports []string // of this module; below them too
	foreign []string // prefixes of the other modules that may be imported; nil is any
}

// edges is the table of docs/architecture.md. The first row that fits a package decides.
func edges() []edge {
	common := []string{"go.opentelemetry.io/otel/trace", "go.opentelemetry.io/otel/attribute", "go.opentelemetry.io/otel/codes"}
	with := func(more ...string) []string { return append(slices.Clone(common), more...) }
	return []edge{
		{"api", []string{"api"}, []string{"google.golang.org/protobuf", "google.golang.org/grpc", "google.golang.org/genproto"}},
		{"media/internal", []string{"media/internal"}, []string{}},
		{"media", []string{"media"}, with("github.com/pion/rtp", "github.com/pion/rtcp")},
		{"rtcpool/internal", []string{"rtcpool/internal", "media"}, with("github.com/pion", "golang.org/x/net", "golang.org/x/sys")}, // mDNS groups, socket options
		{"rtcpool", []string{"rtcpool", "media"}, with("github.com/pion")},
		{"resolverstore", []string{"resolverstore"}, with("github.com/redis")},
		{"connector", []string{"connector", "rtcpool", "resolverstore"}, nil},
		{"service", []string{"service", "api", "media", "rtcpool", "resolverstore", "connector"}, nil},
		{"internal/sfutest", []string{"internal/sfutest", "api"}, nil},
		{"internal/docgen", []string{"internal/docgen", "api", "service/metrics"}, nil},
		{"internal/edges", nil, nil},
		{"internal/leak", []string{}, []string{"go.uber.org/goleak"}},
		{"internal/supply", []string{}, []string{}},
		{"e2e", []string{"e2e"}, nil},
		{"bench", []string{"bench", "api", "media", "internal/sfutest"}, nil},
		{"cmd", []string{"cmd", "api", "media", "rtcpool", "resolverstore", "connector", "service", "internal"}, nil},
	}
}

// listed is what `go list` tells of a package.
type listed struct {
	ImportPath string
	Standard   bool
	Doc        string
	Name       string
	GoFiles    []string
	CgoFiles   []string
	Imports    []string
	Dir        string
}

// list returns the module's packages by import path.
func list(t *testing.T, args ...string) map[string]listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Standard,Doc,Name,GoFiles,CgoFiles,Imports,Dir"}, args...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, stderr.String())
	}
	packages := make(map[string]listed)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
}

// below tells whether an import path is a package or below it.
func below(path, parent string) bool { return path == parent || strings.HasPrefix(path, parent+"/") }

// fault returns what is wrong with an import, or nothing.
func fault(e edge, imported string) string {
	own, ours := strings.CutPrefix(imported, module)
	switch {
	case ours && !slices.ContainsFunc(e.imports, func(p string) bool { return below(own, p) }):
		return "may import of this module only " + strings.Join(e.imports, ", ")
	case !ours && strings.Contains(imported, ".") && e.foreign != nil && !slices.ContainsFunc(e.foreign, func(p string) bool { return below(imported, p) }):
		return "may import of other modules only " + strings.Join(e.foreign, ", ")
	default:
		return ""
	}
}

// find returns the row for a package.
func find(path string) (edge, bool) {
	all := edges()
	i := slices.IndexFunc(all, func(e edge) bool { return below(path, e.path) })
	if i < 0 {
		return edge{}, false
	}
	return all[i], true
}

func TestImportEdges(t *testing.T) {
	packages := list(t, "-tags", "e2e", "./...")
	if len(packages) < 10 {
		t.Fatalf("go list found only %d packages", len(packages))
	}
	for path, p := range packages {
		own := strings.TrimPrefix(path, module)
		e, ok := find(own)
		if !ok {
			t.Errorf("%s is not in the table of who may import whom: add it to edges and to docs/architecture.md", own)
			continue
		}
		for _, imported := range p.Imports {
			if f := fault(e, imported); f != "" {
				t.Errorf("%s imports %s; %s", own, imported, f)
			}
		}
	}
}

func TestImportEdgesFindFaults(t *testing.T) {
	for _, c := range []struct{ from, to string }{
		{"rtcpool", module + "resolverstore"},
		{"resolverstore", module + "rtcpool"},
		{"media", module + "rtcpool"},
		{"media", "github.com/pion/webrtc/v4"},
		{"media/internal/opus", module + "media"},
		{"rtcpool/internal/network", module + "rtcpool"},
		{"rtcpool/internal/repair", module + "service"},
		{"api/penstock/v1", module + "media"},
		{"service", module + "cmd/gateway"},
		{"e2e", module + "service"},
		{"resolverstore", "google.golang.org/grpc"},
	} {
		e, ok := find(c.from)
		if !ok || fault(e, c.to) == "" {
			t.Errorf("%s may import %s", c.from, c.to)
		}
	}
}

func TestCgoIsInMediaInternal(t *testing.T) {
	const settings = "cmd/gateway/internal/timerslack" // binds nothing: it sets up the process before Go begins
	for path, p := range list(t, "-tags", "e2e", "./...") {
		own := strings.TrimPrefix(path, module)
		if len(p.CgoFiles) > 0 && !below(own, "media/internal") && own != settings {
			t.Errorf("%s has cgo in %v; bindings belong into media/internal", own, p.CgoFiles)
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for path, p := range list(t, "-tags", "e2e", "./...") {
		own := strings.TrimPrefix(path, module)
		if below(own, "api") || len(p.GoFiles)+len(p.CgoFiles) == 0 {
			continue // generated, or only tests
		}
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command "
		}
		if !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s: the package comment must begin with %q; it is %q", own, want, p.Doc)
		}
	}
}
