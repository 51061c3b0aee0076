package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// debianPackage is one package of an image.
type debianPackage struct {
	name, version, architecture string
	source, sourceVersion       string // where they differ from the package's, else empty
}

// readPackages reads one package from each file of a directory, in the order of their names.
func readPackages(dir string) ([]debianPackage, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for packages: %w", err)
	}
	var all []debianPackage
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, fmt.Errorf("read a package: %w", err)
		}
		p, err := parsePackage(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		all = append(all, p)
	}
	return all, nil
}

// parsePackage reads the fields of one paragraph of dpkg's status (deb-control(5)). Lines that go on begin with a blank and
// belong to fields that are of no interest here.
func parsePackage(text []byte) (debianPackage, error) {
	var p debianPackage
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), ":")
		value = strings.TrimSpace(value)
		switch {
		case !ok || strings.HasPrefix(name, " "):
		case name == "Package":
			p.name = value
		case name == "Version":
			p.version = value
		case name == "Architecture":
			p.architecture = value
		case name == "Source":
			p.source, p.sourceVersion, _ = strings.Cut(value, " ")
			p.sourceVersion = strings.Trim(p.sourceVersion, "()")
		}
	}
	if err := lines.Err(); err != nil {
		return debianPackage{}, fmt.Errorf("%w: %w", errPackage, err)
	}
	if p.name == "" || p.version == "" {
		return debianPackage{}, fmt.Errorf("%w: it has no Package or no Version", errPackage)
	}
	return p, nil
}
