package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// module is a Go module of which packages are linked into the gateway.
type module struct {
	Path    string
	Version string
	Licence string // SPDX expression
	Files   []string
	main    bool // the gateway itself
}

// linked returns the modules of the gateway's packages, the gateway's own and Go's first, the others by path. It fails if one
// has no licence that is known.
func linked(ctx context.Context, root string) ([]module, error) {
	found, err := list(ctx, root)
	if err != nil {
		return nil, err
	}
	goroot, err := goCommand(ctx, root, "env", "GOROOT", "GOVERSION")
	if err != nil {
		return nil, err
	}
	dir, version, _ := strings.Cut(strings.TrimSpace(string(goroot)), "\n")
	found = append(found, listedModule{Path: "std", Version: strings.TrimPrefix(version, "go"), Dir: dir})
	var modules []module
	for _, m := range found {
		full, err := licensed(m)
		if err != nil {
			return nil, err
		}
		modules = append(modules, full)
	}
	slices.SortFunc(modules, func(a, b module) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Path, b.Path))
	})
	return modules, nil
}

// rank puts the gateway first, and Go's own library before the others.
func rank(m module) int {
	switch {
	case m.main:
		return 0
	case m.Path == "std":
		return 1
	default:
		return 2
	}
}

// listedModule is what `go list` tells of a package's module.
type listedModule struct {
	Path, Version, Dir string
	Main               bool
}

// list returns the modules of the packages that the gateway is linked of, each once.
func list(ctx context.Context, root string) ([]listedModule, error) {
	out, err := goCommand(ctx, root, "list", "-deps", "-json=Module", "./cmd/gateway")
	if err != nil {
		return nil, err
	}
	var found []listedModule
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ Module *listedModule }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, fmt.Errorf("read what go list says: %w", err)
		}
		if p.Module != nil && !slices.Contains(found, *p.Module) {
			found = append(found, *p.Module)
		}
	}
}

// goCommand runs the go command in a directory and returns what it prints.
func goCommand(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out, nil
}

// paperName matches the files of a module that its licence wants to be handed on.
var paperName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)(\.(txt|md))?$`)

// licensed reads the licence of a module.
func licensed(m listedModule) (module, error) {
	full := module{Path: m.Path, Version: m.Version, main: m.Main}
	entries, err := os.ReadDir(m.Dir)
	if err != nil {
		return module{}, fmt.Errorf("look for the licence of %s: %w", m.Path, err)
	}
	var known []string
	for _, e := range entries {
		if e.IsDir() || !paperName.MatchString(e.Name()) {
			continue
		}
		file := filepath.Join(m.Dir, e.Name())
		text, err := os.ReadFile(file)
		if err != nil {
			return module{}, fmt.Errorf("read the licence of %s: %w", m.Path, err)
		}
		full.Files = append(full.Files, file)
		known = append(known, identify(string(text))...)
	}
	slices.Sort(known)
	full.Licence = strings.Join(slices.Compact(known), " AND ")
	if full.Licence == "" {
		return module{}, fmt.Errorf("%s, in %s: %w", m.Path, m.Dir, errLicence)
	}
	return full, nil
}
