package main

import (
	"cmp"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
)

// The parts of CycloneDX 1.6 that are used. There is neither a serial number nor a time, so that the same binary has the same bill.
type (
	bill struct {
		BOMFormat    string       `json:"bomFormat"`
		SpecVersion  string       `json:"specVersion"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Component component `json:"component"`
	}
	component struct {
		Ref        string          `json:"bom-ref"`
		Type       string          `json:"type"`
		Name       string          `json:"name"`
		Version    string          `json:"version,omitempty"`
		Licences   []licenceChoice `json:"licenses,omitempty"`
		PURL       string          `json:"purl,omitempty"`
		Properties []property      `json:"properties,omitempty"`
	}
	licenceChoice struct {
		Expression string `json:"expression"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn"`
	}
)

// part is a module as a binary holds it.
type part struct {
	module
	sum string // go.sum's; empty for Go's own library and the gateway
}

// readBinary returns what a binary says that it was built of, the gateway first, with the licences of the modules of the tree.
// The gateway's own version is told, since the linker leaves it out of what a trimmed binary says.
func readBinary(file, version string, modules []module) ([]part, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, errBinary, err)
	}
	var parts []part
	add := func(path, version, sum string) error {
		i := slices.IndexFunc(modules, func(m module) bool { return m.Path == path })
		if i < 0 {
			return fmt.Errorf("%s: %w: it holds %s", file, errBinary, path)
		}
		m := modules[i]
		m.Version = version
		parts = append(parts, part{m, sum})
		return nil
	}
	if err := add(info.Main.Path, cmp.Or(version, info.Main.Version), ""); err != nil {
		return nil, err
	}
	if err := add("std", strings.TrimPrefix(info.GoVersion, "go"), ""); err != nil {
		return nil, err
	}
	for _, d := range info.Deps {
		if err := add(d.Path, d.Version, d.Sum); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// writeSBOM writes the bill of a binary's parts, the first of which is the gateway itself, and of packages.
func writeSBOM(out io.Writer, parts []part, packages []debianPackage) error {
	b := bill{BOMFormat: "CycloneDX", SpecVersion: "1.6", Version: 1, Metadata: metadata{goComponent(parts[0])}}
	b.Metadata.Component.Type = "application"
	for _, p := range parts[1:] {
		b.Components = append(b.Components, goComponent(p))
	}
	for _, p := range packages {
		b.Components = append(b.Components, debianComponent(p))
	}
	slices.SortFunc(b.Components, func(x, y component) int { return strings.Compare(x.Ref, y.Ref) })
	all := dependency{Ref: b.Metadata.Component.Ref, DependsOn: []string{}}
	for _, c := range b.Components {
		all.DependsOn = append(all.DependsOn, c.Ref)
	}
	b.Dependencies = []dependency{all}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	return enc.Encode(b)
}

// goComponent describes a module.
func goComponent(p part) component {
	purl := "pkg:golang/" + p.Path + "@" + url.QueryEscape(p.Version)
	c := component{Ref: purl, Type: "library", Name: p.Path, Version: p.Version, PURL: purl, Licences: []licenceChoice{{p.Licence}}}
	if p.sum != "" {
		c.Properties = []property{{"penstock:go:sum", p.sum}}
	}
	return c
}

// debianComponent describes a package. Its licences are in its own file in the image, too many and too mixed for an expression.
func debianComponent(p debianPackage) component {
	purl := "pkg:deb/debian/" + url.PathEscape(p.name) + "@" + url.QueryEscape(p.version) + "?arch=" + p.architecture + "&distro=debian-12"
	c := component{Ref: purl, Type: "library", Name: p.name, Version: p.version, PURL: purl}
	if p.source != "" {
		source := p.source
		if p.sourceVersion != "" {
			source += " " + p.sourceVersion
		}
		c.Properties = []property{{"penstock:debian:source", source}}
	}
	return c
}
