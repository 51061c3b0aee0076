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
// it, and where its value comes from: origins by name, nil where they are not known. Secrets are written as "(hidden)", which Check refuses, so that nobody runs with it by mistake.
func (c *Config) Write(w io.Writer, origins map[string]string) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	v := reflect.ValueOf(c).Elem()
	for _, s := range Settings() {
		var value yaml.Node
		if err := value.Encode(plain(v.FieldByIndex(s.index).Interface())); err != nil {
			return fmt.Errorf("config: encode %s: %w", s.Name, err)
		}
		value.Style |= yaml.FlowStyle
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: s.Name, HeadComment: s.Env + c.origin(s, origins) + ": " + strings.ReplaceAll(s.Help, "\n", " ")}
		root.Content = append(root.Content, key, &value)
	}
	enc := yaml.NewEncoder(w)
	if err := enc.Encode(root); err != nil {
		return fmt.Errorf("config: write: %w", err)
	}
	return enc.Close()
}

// origin returns the part of the comment on where a setting's value comes from.
func (c *Config) origin(s Setting, origins map[string]string) string {
	if origins == nil {
		return ""
	}
	files := map[string]string{"auth-token": c.AuthTokenFile, "jwt-secret": c.JWTSecretFile, "pod-secret": c.PodSecretFile, "redis-password": c.RedisPasswordFile}
	if files[s.Name] != "" {
		return ", from --" + s.Name + "-file"
	}
	return ", from " + origins[s.Name]
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
