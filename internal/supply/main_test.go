package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// write makes a file of a test's own.
func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLicencesPageIsCurrent(t *testing.T) {
	modules, err := linked(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, renderPage(modules)) {
		t.Errorf("%s is not what the modules say: run make generate", page)
	}
}

func TestLinkedModulesAreThoseOfTheGateway(t *testing.T) {
	modules, err := linked(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]string)
	for _, m := range modules {
		if _, twice := seen[m.Path]; twice {
			t.Errorf("%s is listed twice", m.Path)
		}
		seen[m.Path] = m.Licence
	}
	for path, licence := range map[string]string{
		"std": "BSD-3-Clause", "google.golang.org/grpc": "Apache-2.0", "github.com/pion/webrtc/v4": "MIT", "go.yaml.in/yaml/v3": "Apache-2.0 AND MIT",
	} {
		if seen[path] != licence {
			t.Errorf("%s: licence %q, want %q", path, seen[path], licence)
		}
	}
	if _, ok := seen["pgregory.net/rapid"]; ok {
		t.Error("a module that only tests use is listed")
	}
	if !modules[0].main || modules[1].Path != "std" {
		t.Errorf("the first are %s and %s", modules[0].Path, modules[1].Path)
	}
}

func TestModuleWithoutAKnownLicenceIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"none":                  "",
		"GPL":                   "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007",
		"BSD with a GPL beside": "Redistribution and use in source and binary forms … or under the GNU General\n  Public License.",
		"words":                 "Do what seems right.",
	} {
		dir := t.TempDir()
		if text != "" {
			write(t, dir, "LICENSE.md", text)
		}
		if m, err := licensed(listedModule{Path: "example.org/m", Dir: dir}); !errors.Is(err, errLicence) || !strings.Contains(err.Error(), "example.org/m") {
			t.Errorf("%s: got %+v, %v", name, m, err)
		}
	}
}

func TestLicencesOfAllPapersCount(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "LICENSE", "Permission is hereby granted, free of\ncharge, to any person … THE SOFTWARE IS PROVIDED \"AS IS\"")
	write(t, dir, "COPYING", "Apache License\n  Version 2.0, January 2004")
	write(t, dir, "NOTICE.txt", "This is by many.")
	write(t, dir, "licenses.go", "package m")
	m, err := licensed(listedModule{Path: "example.org/m", Version: "v1.0.0", Dir: dir})
	if err != nil || m.Licence != "Apache-2.0 AND MIT" || len(m.Files) != 3 {
		t.Fatalf("got %+v, %v", m, err)
	}
	var out bytes.Buffer
	if err := writeNotices(&out, []module{m}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"example.org/m v1.0.0 (Apache-2.0 AND MIT): NOTICE.txt", "This is by many.", "free of\ncharge"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in the notices:\n%s", want, &out)
		}
	}
}

func TestRunRefusesOtherCommands(t *testing.T) {
	for _, args := range [][]string{nil, {"page"}} {
		if err := run(t.Context(), root, args, new(bytes.Buffer)); !errors.Is(err, errCommand) {
			t.Errorf("%v: %v", args, err)
		}
	}
}
