package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// settingsSource is the package whose structs are the configuration, and settingsTarget the page of it.
const (
	settingsSource = "cmd/gateway/internal/config"
	settingsTarget = "docs/configuration.md"
)

// setting is one field of the configuration.
type setting struct {
	field, kind string
	tag         reflect.StructTag
	text        string
}

// errNoSettings means that the source has no struct that is the configuration.
var errNoSettings = errors.New("no struct Config")

// generateSettings writes the page below a root directory.
func generateSettings(root string) error {
	page, err := renderSettings(filepath.Join(root, settingsSource))
	if err != nil {
		return fmt.Errorf("%s: %w", settingsSource, err)
	}
	return os.WriteFile(filepath.Join(root, settingsTarget), page, 0o644) //nolint:gosec // documentation
}

// readSettings returns the settings of a package's struct Config, in their order, those of embedded structs in their places.
func readSettings(dir string) ([]setting, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	structs := make(map[string]*ast.StructType)
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if t, ok := n.(*ast.TypeSpec); ok {
				if s, ok := t.Type.(*ast.StructType); ok {
					structs[t.Name.Name] = s
				}
			}
			return true
		})
	}
	if structs["Config"] == nil {
		return nil, errNoSettings
	}
	return settingsOf(structs, "Config")
}

// settingsOf returns the settings of a struct.
func settingsOf(structs map[string]*ast.StructType, name string) (all []setting, err error) {
	for _, f := range structs[name].Fields.List {
		kind := typeName(f.Type)
		if len(f.Names) == 0 && structs[kind] != nil {
			within, err := settingsOf(structs, kind)
			if err != nil {
				return nil, err
			}
			all = append(all, within...)
			continue
		}
		if f.Tag == nil {
			continue
		}
		tag, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			return nil, err
		}
		one := setting{kind: kind, tag: reflect.StructTag(tag), text: strings.Join(strings.Fields(f.Doc.Text()), " ")}
		if len(f.Names) > 0 {
			one.field = f.Names[0].Name
		}
		if one.tag.Get("name") == "" || one.text == "" {
			return nil, fmt.Errorf("%s has no name or no comment", one.field)
		}
		all = append(all, one)
	}
	return all, nil
}

// typeName returns how a field's type is written.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return typeName(e.X) + "." + e.Sel.Name
	case *ast.ArrayType:
		return "[]" + typeName(e.Elt)
	}
	return ""
}

// renderSettings returns the page.
func renderSettings(dir string) ([]byte, error) {
	all, err := readSettings(dir)
	if err != nil {
		return nil, err
	}
	names := make(map[string]string)
	for _, s := range all {
		names[s.field] = s.tag.Get("name")
	}
	var b bytes.Buffer
	b.WriteString(settingsHead)
	group := ""
	for _, s := range all {
		if g := s.tag.Get("group"); g != group {
			group = g
			fmt.Fprintf(&b, "\n## %s\n\n| setting | default | values | meaning |\n| --- | --- | --- | --- |\n", group)
		}
		fmt.Fprintf(&b, "| `--%s`<br>`%s` | %s | %s | %s |\n", s.tag.Get("name"), s.tag.Get("env"), s.standard(), s.values(), s.meaning(names))
	}
	return b.Bytes(), nil
}

// standard returns the default as the table shows it.
func (s setting) standard() string {
	switch d := s.tag.Get("default"); {
	case d != "":
		return "`" + d + "`"
	case s.kind == "bool":
		return "`false`"
	}
	return ""
}

// values says what it may be.
func (s setting) values() string {
	var words []string
	switch p := s.tag.Get("placeholder"); {
	case s.kind == "bool":
		words = append(words, "`true`, `false`")
	case p != "":
		words = append(words, strings.ReplaceAll(p, "|", `\|`))
	}
	if strings.HasPrefix(s.kind, "[]") {
		words = append(words, "several, with commas, or a list in the file")
	}
	if least, most, ok := strings.Cut(s.tag.Get("range"), ".."); ok {
		words = append(words, least+" to "+most)
	}
	if s.kind == "Secret" {
		words = append(words, "secret")
	}
	return strings.Join(words, "; ")
}

// fieldName matches what could be the name of another field in a comment.
var fieldName = regexp.MustCompile(`\b[A-Z][A-Za-z0-9]+\b`)

// meaning is the field's comment without "Field is", and with the names of settings in place of those of fields.
func (s setting) meaning(names map[string]string) string {
	text := s.text
	for _, verb := range []string{" is ", " are "} {
		if rest, ok := strings.CutPrefix(text, s.field+verb); ok {
			text = strings.ToUpper(rest[:1]) + rest[1:]
		}
	}
	text = fieldName.ReplaceAllStringFunc(text, func(word string) string {
		if name := names[word]; name != "" {
			return "`--" + name + "`"
		}
		return word
	})
	return strings.ReplaceAll(text, "|", `\|`)
}

// settingsHead is what the page says before its tables.
const settingsHead = `# Configuration of ` + "`gateway serve`" + `

<!-- Made by internal/docgen from ` + settingsSource + `; edit that, and run make generate. -->

Each setting is a flag, an environment variable, and a key of the YAML file that ` + "`--config`" + ` (` + "`PENSTOCK_CONFIG`" + `) names: the key is the flag's name without the dashes in
front. A flag wins over the environment, that over the file, and that over the default. What is wrong is refused at the start, with what to mend; unknown keys of the file too. An unknown
variable that begins with ` + "`PENSTOCK_`" + ` is warned of, since Kubernetes makes such for services. Durations are written like ` + "`1m30s`" + `, sizes in bytes.

` + "`gateway config`" + ` takes the same and prints the effective configuration, secrets hidden, and where each value comes from. ` + "`gateway healthcheck`" + ` takes the same, too.
`
