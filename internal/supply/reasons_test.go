package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryDirectDependencyHasAReason wants each module that go.mod names directly in the table of docs/decisions.md.
func TestEveryDirectDependencyHasAReason(t *testing.T) {
	out, err := goCommand(t.Context(), root, "mod", "edit", "-json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &file); err != nil {
		t.Fatal(err)
	}
	decisions, err := os.ReadFile(filepath.Join(root, "docs/decisions.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(decisions), "\n## What it depends on\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !found || len(file.Require) < 20 {
		t.Fatalf("section found: %t; go.mod names %d modules", found, len(file.Require))
	}
	for _, m := range file.Require {
		if !m.Indirect && !strings.Contains(section, "`"+m.Path+"`") {
			t.Errorf("%s is needed directly, and docs/decisions.md has no reason for it", m.Path)
		}
	}
}
