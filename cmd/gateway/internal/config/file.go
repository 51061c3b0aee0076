package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// fileFlag is the name of the flag that names the file.
const fileFlag = "config"

// maxFileBytes bounds what is read of a file that is no configuration at all.
const maxFileBytes = 1 << 20

// Resolver gives kong the values of the YAML file that --config or PENSTOCK_CONFIG names. It is used by one parse.
type Resolver struct {
	read   bool
	path   string
	values map[string]entry
}

// entry is one setting in a file.
type entry struct {
	text string // in the words of the command line
	line int
}

var _ kong.Resolver = (*Resolver)(nil)

// NewResolver returns a resolver that has read nothing.
func NewResolver() *Resolver { return &Resolver{} }

// Validate implements kong.Resolver.
func (r *Resolver) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver. It returns nil for what the file does not name, and for what the environment does.
func (r *Resolver) Resolve(ctx *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	i := slices.IndexFunc(parent.Flags, func(f *kong.Flag) bool { return f.Name == fileFlag })
	if i < 0 || flag.Name == fileFlag {
		return nil, nil //nolint:nilnil // kong's word for "not mine"
	}
	if !r.read {
		path, _ := ctx.FlagValue(parent.Flags[i]).(string)
		if err := r.load(path); err != nil {
			return nil, err
		}
	}
	e, ok := r.values[flag.Name]
	if !ok || slices.ContainsFunc(flag.Envs, isSet) {
		return nil, nil //nolint:nilnil // as above
	}
	if err := check(flag, e.text); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", r.path, e.line, err)
	}
	return e.text, nil
}

func (r *Resolver) load(path string) error {
	r.read, r.path = true, path
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return &Error{fileFlag, "cannot be read: " + err.Error(), "name a YAML file that this user may read"}
	}
	defer f.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return &Error{fileFlag, "cannot be read: " + err.Error(), "name a YAML file that this user may read"}
	}
	if len(b) > maxFileBytes {
		return &Error{path, fmt.Sprintf("is larger than %d bytes", maxFileBytes), "name a file of settings"}
	}
	r.values, err = parseFile(path, b)
	return err
}

// parseFile reads a YAML mapping of settings to scalars or lists of scalars.
func parseFile(path string, b []byte) (map[string]entry, error) {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(b))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil // an empty file sets nothing
	case err != nil:
		return nil, &Error{path, "is not YAML: " + err.Error(), "write one 'flag-name: value' a line"}
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, &Error{path, "has more than one document", "write all settings into one"}
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, &Error{fmt.Sprintf("%s:%d", path, root.Line), "is not a mapping", "write one 'flag-name: value' a line"}
	}
	known := environment()
	values := make(map[string]entry, len(root.Content)/2)
	for pair := range slices.Chunk(root.Content, 2) {
		key, value := pair[0], pair[1]
		where := fmt.Sprintf("%s:%d", path, key.Line)
		if _, ok := known[key.Value]; !ok || key.Value == fileFlag {
			return nil, &Error{where, fmt.Sprintf("unknown setting %q", key.Value), mendUnknown(key.Value)}
		}
		if before, ok := values[key.Value]; ok {
			return nil, &Error{where, fmt.Sprintf("%s is set in line %d already", key.Value, before.line), "keep one of them"}
		}
		text, err := scalarText(value)
		if err != nil {
			return nil, &Error{where, fmt.Sprintf("%s: %v", key.Value, err), "write a plain value, or a list of them where the setting takes several"}
		}
		values[key.Value] = entry{text, key.Line}
	}
	return values, nil
}

// scalarText returns a value in the words of the command line: a list is separated by commas.
func scalarText(n *yaml.Node) (string, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "", errors.New("has no value")
		}
		return n.Value, nil
	case yaml.SequenceNode:
		var items []string
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode || strings.Contains(item.Value, ",") {
				return "", errors.New("is a list of something else than plain values")
			}
			items = append(items, item.Value)
		}
		return strings.Join(items, ","), nil
	default:
		return "", errors.New("is neither a value nor a list")
	}
}

func mendUnknown(name string) string {
	if near := closest(name); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "`gateway config` prints all settings"
}

// check parses a text as the flag would, into a value that is thrown away.
func check(flag *kong.Flag, text string) error {
	if flag.IsBool() && text != "true" && text != "false" {
		return fmt.Errorf("%q is neither true nor false; write one of these", text)
	}
	scan := kong.Scan().PushTyped(text, kong.FlagValueToken)
	target := reflect.New(flag.Target.Type()).Elem()
	return flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, target)
}

func isSet(env string) bool {
	_, ok := os.LookupEnv(env)
	return ok
}
