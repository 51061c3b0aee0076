package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestO7_ConfigurationPageIsCurrent(t *testing.T) {
	want, err := renderSettings(filepath.Join(root, settingsSource))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, settingsTarget))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code says: run make generate", settingsTarget)
	}
}

func TestO7_ConfigurationPageHasWhatAReaderNeeds(t *testing.T) {
	page, err := renderSettings(filepath.Join(root, settingsSource))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"## Limits\n", "| `--max-sessions`<br>`PENSTOCK_MAX_SESSIONS` | `1000` | N; 1 to 1000000 |", "secret", "several, with commas",
		"0 is no limit but `--max-sessions`", "| Where the gRPC API listens", "`true`, `false`",
	} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("%q is not in the page", want)
		}
	}
}

func TestSettingsAreReadAsTheyAreWritten(t *testing.T) {
	write := func(source string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "c.go"), []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	page, err := renderSettings(write("package c\ntype Config struct {\n// One goes with Two, not\n// with C.\nOne []string `name:\"a\" env:\"X_A\" placeholder:\"x|y\" group:\"G\"`\nInner\n}\n" +
		"type Inner struct {\n// Two is on.\nTwo bool `name:\"b\" env:\"X_B\" group:\"G\"`\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := "| `--a`<br>`X_A` |  | x\\|y; several, with commas, or a list in the file | `--a` goes with `--b`, not with C. |\n| `--b`<br>`X_B` | `false` | `true`, `false` | On. |\n"
	if !bytes.HasSuffix(page, []byte(want)) {
		t.Errorf("got\n%s\nwant at its end\n%s", page, want)
	}
	for name, source := range map[string]string{
		"no struct": "package c\n", "no comment": "package c\ntype Config struct {\nA int `name:\"a\"`\n}\n", "no Go": "package",
	} {
		if _, err := renderSettings(write(source)); err == nil || strings.Contains(err.Error(), "nil") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
