package service

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryThreatHasItsTest: each test that docs/security.md names is there. A name that ends with an ellipsis stands for all that begin so.
func TestEveryThreatHasItsTest(t *testing.T) {
	var all strings.Builder
	must(t, filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			all.WriteString(readFile(t, path))
		}
		return err
	}))
	source := all.String()
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]*)(…?)(?:/[A-Za-z0-9_]*)?`").FindAllStringSubmatch(readFile(t, "../docs/security.md"), -1)
	if len(named) < 30 {
		t.Fatalf("only %d tests are found in the page", len(named))
	}
	for _, m := range named {
		name := "func " + m[1]
		if m[2] == "" {
			name += "("
		}
		if !strings.Contains(source, name) {
			t.Errorf("docs/security.md names %s, which there is not", m[1])
		}
	}
	for _, row := range strings.Split(readFile(t, "../docs/security.md"), "\n") {
		if cells := strings.Split(row, "|"); len(cells) == 5 && !strings.Contains(row, "---") && !strings.Contains(row, "| threat |") && !strings.Contains(cells[3], "`") {
			t.Errorf("no test shows what stops%s", cells[1])
		}
	}
}
