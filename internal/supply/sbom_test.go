package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// paragraph is what dpkg says of a package, shortened.
const paragraph = `Package: libstdc++6
Status: install ok installed
Architecture: amd64
Source: gcc-12 (12.2.0-14+deb12u1)
Version: 12.2.0-14+deb12u2
Description: GNU Standard C++ Library v3
 Version: no, this is still the description.
`

func TestPackageIsRead(t *testing.T) {
	p, err := parsePackage([]byte(paragraph))
	want := debianPackage{name: "libstdc++6", version: "12.2.0-14+deb12u2", architecture: "amd64", source: "gcc-12", sourceVersion: "12.2.0-14+deb12u1"}
	if err != nil || p != want {
		t.Errorf("got %+v, %v; want %+v", p, err, want)
	}
	for _, text := range []string{"", "Package: x\n", "Version: 1\n", "nothing at all"} {
		if _, err := parsePackage([]byte(text)); !errors.Is(err, errPackage) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestBillNamesAllOnce(t *testing.T) {
	parts := []part{
		{module{Path: "example.org/own", Version: "v1.2.3", Licence: "Apache-2.0", main: true}, ""},
		{module{Path: "example.org/m", Version: "v0.1.0+incompatible", Licence: "MIT"}, "h1:sum"},
	}
	p, err := parsePackage([]byte(paragraph))
	if err != nil {
		t.Fatal(err)
	}
	var out, again bytes.Buffer
	if err := writeSBOM(&out, parts, []debianPackage{p}); err != nil {
		t.Fatal(err)
	}
	if err := writeSBOM(&again, parts, []debianPackage{p}); err != nil || !bytes.Equal(out.Bytes(), again.Bytes()) {
		t.Errorf("another run gives another bill: %v", err)
	}
	var b bill
	if err := json.Unmarshal(out.Bytes(), &b); err != nil {
		t.Fatal(err)
	}
	if c := b.Metadata.Component; c.Type != "application" || c.Version != "v1.2.3" {
		t.Errorf("the gateway is %+v", c)
	}
	want := []string{"pkg:deb/debian/libstdc++6@12.2.0-14%2Bdeb12u2?arch=amd64&distro=debian-12", "pkg:golang/example.org/m@v0.1.0%2Bincompatible"}
	if !slices.Equal(b.Dependencies[0].DependsOn, want) {
		t.Errorf("components are %q, want %q", b.Dependencies[0].DependsOn, want)
	}
	if !strings.Contains(out.String(), "gcc-12 12.2.0-14+deb12u1") || !strings.Contains(out.String(), "h1:sum") {
		t.Errorf("the source of the package, or the module's sum, is missing:\n%s", &out)
	}
}

// TestBinaryIsRead reads this test's own binary, whose modules are of this tree.
func TestBinaryIsRead(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	own := module{Path: "github.com/penstock-media/penstock", Licence: "Apache-2.0", main: true}
	parts, err := readBinary(self, "v9", []module{own, {Path: "std", Licence: "BSD-3-Clause"}})
	if err != nil || len(parts) != 2 || parts[0].Version != "v9" || !strings.HasPrefix(parts[1].Version, "1.") {
		t.Errorf("got %+v, %v", parts, err)
	}
	if _, err := readBinary(self, "", []module{own}); !errors.Is(err, errBinary) {
		t.Errorf("with a module that the tree does not name: %v", err)
	}
	if _, err := readBinary("sbom_test.go", "", nil); !errors.Is(err, errBinary) {
		t.Errorf("a text: %v", err)
	}
}
