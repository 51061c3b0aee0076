package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// writeNotices writes the licences, notices and patent grants of modules, one after another.
func writeNotices(out io.Writer, modules []module) error {
	w := bufio.NewWriter(out)
	fmt.Fprintln(w, "What the gateway's binary is linked of, and the licences under which it is.")
	for _, m := range modules {
		if m.main {
			continue
		}
		for _, file := range m.Files {
			text, err := os.ReadFile(file)
			if err != nil {
				return fmt.Errorf("read a notice of %s: %w", m.Path, err)
			}
			fmt.Fprintf(w, "\n%s\n%s %s (%s): %s\n\n%s\n", strings.Repeat("=", 80), m.Path, m.Version, m.Licence, filepath.Base(file), strings.TrimSpace(string(text)))
		}
	}
	return w.Flush() // tells of any write that failed before
}
