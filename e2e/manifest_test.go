//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// chartDir is the chart of this tree.
const chartDir = "../helm"

// kubeVersion is that of the pinned API server; a helm built from its module assumes an old one.
const kubeVersion = "1.35.4"

// manifest is an object of the Kubernetes API.
type manifest map[string]any

func (m manifest) kind() string { return at[string](m, "kind") }
func (m manifest) name() string { return at[string](m, "metadata", "name") }

// at returns what a path of keys and indexes leads to, or the zero value where it leads nowhere or to another type.
func at[T any](v any, path ...any) (found T) {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			if m, ok := v.(manifest); ok {
				v = map[string]any(m)
			}
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			l, _ := v.([]any)
			if step >= len(l) {
				return found
			}
			v = l[step]
		}
	}
	found, _ = v.(T)
	return found
}

// helm runs helm with a home of its own for each test.
func helm(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program(t, "HELM", "helm"), args...)
	cmd.Env = append([]string{"HOME=" + home, "HELM_CACHE_HOME=" + home, "HELM_CONFIG_HOME=" + home, "HELM_DATA_HOME=" + home, "PATH=" + os.Getenv("PATH")}, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("helm %s: %w\n%s%s", strings.Join(args, " "), err, &stderr, &stdout)
	}
	return stdout.String(), nil
}

// set turns values into arguments of helm.
func set(values ...string) (args []string) {
	for _, v := range values {
		args = append(args, "--set", v)
	}
	return args
}

// least are the values without which the chart renders nothing.
func least() []string {
	return []string{"image.repository=registry.example.org/penstock", "insecure=true"}
}

// namedSecrets are values with which the chart makes no secret of its own: it refuses to where no cluster is at hand to keep it.
const namedSecrets = "testdata/named-secrets.yaml"

// template renders the chart as release "media" in the namespace "calls", with secrets that are named.
func template(t *testing.T, args ...string) ([]manifest, error) {
	t.Helper()
	out, err := helm(t, nil, append([]string{"template", "media", chartDir, "--namespace=calls", "--kube-version=" + kubeVersion, "--values=" + namedSecrets}, args...)...)
	if err != nil {
		return nil, err
	}
	return parseManifests(out)
}

// parseManifests reads a stream of YAML documents. A key that is there twice is an error.
func parseManifests(text string) (all []manifest, err error) {
	for dec := yaml.NewDecoder(strings.NewReader(text)); ; {
		var m map[string]any // not a manifest: what is inside would be of that type too
		switch err := dec.Decode(&m); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("%w in\n%s", err, text)
		case m != nil:
			all = append(all, m)
		}
	}
}

// rendered renders the chart and gives its objects; a failure ends the test.
func rendered(t *testing.T, args ...string) objects {
	t.Helper()
	all, err := template(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return objects{t, all}
}

// objects are what the chart was rendered to.
type objects struct {
	t   *testing.T
	all []manifest
}

// find returns the object of a kind whose name is "media-penstock" and a suffix, or nil.
func (o objects) find(kind, suffix string) manifest {
	i := slices.IndexFunc(o.all, func(m manifest) bool { return m.kind() == kind && m.name() == "media-penstock"+suffix })
	if i < 0 {
		return nil
	}
	return o.all[i]
}

// must returns the object, which must be there.
func (o objects) must(kind, suffix string) manifest {
	o.t.Helper()
	m := o.find(kind, suffix)
	if m == nil {
		var have []string
		for _, m := range o.all {
			have = append(have, m.kind()+" "+m.name())
		}
		o.t.Fatalf("there is no %s media-penstock%s among %v", kind, suffix, have)
	}
	return m
}

// pod returns the pod's specification in the Deployment of the gateway.
func (o objects) pod() map[string]any {
	o.t.Helper()
	return at[map[string]any](o.must("Deployment", ""), "spec", "template", "spec")
}

// container returns the gateway's container.
func (o objects) container() map[string]any {
	o.t.Helper()
	return at[map[string]any](o.pod(), "containers", 0)
}

// settings returns the file that the gateway is given.
func (o objects) settings() string {
	o.t.Helper()
	return at[string](o.must("ConfigMap", ""), "data", "gateway.yaml")
}

// env returns the container's variable of a name, or nil.
func env(container map[string]any, name string) map[string]any {
	for _, v := range at[[]any](container, "env") {
		if at[string](v, "name") == name {
			return at[map[string]any](v)
		}
	}
	return nil
}

// example returns the path of a file with values under helm/ci.
func example(name string) string { return filepath.Join(chartDir, "ci", name+"-values.yaml") }

// examples returns the names of all files with values under helm/ci.
func examples(t *testing.T) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(example("*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%v, %v", paths, err)
	}
	for _, p := range paths {
		names = append(names, strings.TrimSuffix(filepath.Base(p), "-values.yaml"))
	}
	return names
}
