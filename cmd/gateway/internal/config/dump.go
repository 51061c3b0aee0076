package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Write writes the configuration as a YAML file that --config can read, each setting under a comment that explains
// it. Secrets are written as "(hidden)", which Check refuses, so that nobody runs with it by mistake.
func (c *Config) Write(w io.Writer) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	v := reflect.ValueOf(c).Elem()
	for i, s := range Settings() {
		var value yaml.Node
		if err := value.Encode(plain(v.Field(i).Interface())); err != nil {
			return fmt.Errorf("config: encode %s: %w", s.Name, err)
		}
		value.Style |= yaml.FlowStyle
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: s.Name, HeadComment: s.Env + ": " + strings.ReplaceAll(s.Help, "\n", " ")}
		root.Content = append(root.Content, key, &value)
	}
	enc := yaml.NewEncoder(w)
	if err := enc.Encode(root); err != nil {
		return fmt.Errorf("config: write: %w", err)
	}
	return enc.Close()
}

// plain turns a field's value into what YAML shows as the command line would take it.
func plain(v any) any {
	switch v := v.(type) {
	case time.Duration:
		return v.String()
	case Secret:
		return v.String()
	case []string:
		if v == nil {
			return []string{}
		}
		return v
	default:
		return v
	}
}
