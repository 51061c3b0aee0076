//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// mounted is what a rendered pod finds in its file system and environment, made on this machine.
type mounted struct {
	dir    string // stands for /etc/penstock
	env    []string
	config string // path of the file of settings
}

// mount makes what the gateway's container is given: the ConfigMap, the Secrets that it names with contents by their keys, and its environment. Fields
// of the pod are this machine's loopback address.
func mount(t *testing.T, o objects, secrets map[string]string) mounted {
	t.Helper()
	m := mounted{dir: t.TempDir()}
	pod := o.pod()
	for _, v := range at[[]any](o.container(), "volumeMounts") {
		path := at[string](v, "mountPath")
		below, ok := strings.CutPrefix(path, "/etc/penstock/")
		if !ok {
			continue
		}
		if at[any](v, "subPath") != nil {
			t.Errorf("%s is mounted by subPath, so that changes never reach the pod", path)
		}
		for name, key := range m.keys(t, pod, at[string](v, "name")) {
			content := o.settings()
			if below != "config" {
				content, ok = secrets[key]
				if !ok {
					t.Fatalf("the test has no content for %s", key)
				}
			}
			m.write(t, filepath.Join(below, name), content)
		}
	}
	m.config = filepath.Join(m.dir, "config", "gateway.yaml")
	for _, v := range at[[]any](o.container(), "env") {
		m.env = append(m.env, at[string](v, "name")+"="+m.value(t, v, secrets))
	}
	return m
}

// keys returns the files of a volume, and the keys that they hold.
func (m mounted) keys(t *testing.T, pod map[string]any, volume string) map[string]string {
	t.Helper()
	for _, v := range at[[]any](pod, "volumes") {
		switch {
		case at[string](v, "name") != volume:
		case at[any](v, "configMap", "items") != nil:
			return map[string]string{at[string](v, "configMap", "items", 0, "path"): at[string](v, "configMap", "items", 0, "key")}
		case at[any](v, "configMap") != nil:
			return map[string]string{"gateway.yaml": ""}
		case at[any](v, "secret", "items") == nil: // all keys: a certificate
			return map[string]string{"tls.crt": "tls.crt", "tls.key": "tls.key", "ca.crt": "ca.crt"}
		default:
			return map[string]string{at[string](v, "secret", "items", 0, "path"): at[string](v, "secret", "items", 0, "key")}
		}
	}
	t.Fatalf("there is no volume %s", volume)
	return nil
}

// value returns what a variable of the container holds.
func (m mounted) value(t *testing.T, v any, secrets map[string]string) string {
	t.Helper()
	key := at[string](v, "valueFrom", "secretKeyRef", "key")
	switch {
	case at[any](v, "value") != nil:
		return strings.ReplaceAll(strings.ReplaceAll(at[string](v, "value"), "/etc/penstock", m.dir), "$(POD_IP)", "127.0.0.1")
	case at[any](v, "valueFrom", "fieldRef") != nil:
		return "127.0.0.1"
	case key != "" && secrets[key] != "":
		return secrets[key]
	}
	t.Fatalf("the test has no value for %v", v)
	return ""
}

func (m mounted) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(content, "/etc/penstock", m.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// command returns a command of the gateway with the container's environment and nothing else.
func (m mounted) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "GATEWAY", "gateway"), args...)
	cmd.Env = m.env
	return cmd
}

// effective returns what the real binary makes of a rendered container's settings.
func effective(t *testing.T, o objects, secrets map[string]string) map[string]any {
	t.Helper()
	args := []string{"config"}
	for _, a := range at[[]any](o.container(), "args")[1:] {
		args = append(args, a.(string))
	}
	cmd := mount(t, o, secrets).command(t, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the gateway refuses what the chart gives it: %v\n%s\nfile:\n%s\nenvironment: %v", err, &stderr, o.settings(), cmd.Env)
	}
	settings := map[string]any{}
	if err := yaml.Unmarshal(out, &settings); err != nil {
		t.Fatal(err)
	}
	return settings
}

// secretsFor returns contents for all keys that the examples name.
func secretsFor(t *testing.T) map[string]string {
	t.Helper()
	ca := newAuthority(t)
	cert, key := ca.issue(t, "gateway", false, "penstock.example.org", "media-penstock.calls.svc")
	return map[string]string{
		"tls.crt": cert, "tls.key": key, "ca.crt": ca.pem,
		"token": "0123456789abcdef0123456789abcdef", "pod-secret": strings.Repeat("0123456789", 4),
		"jwt-secret": strings.Repeat("9876543210", 4), "jwks.json": `{"keys":[]}`,
		"redis-password": "pass", "sentinel-password": "pass", "redis-url": "redis-sentinel://a:26379,b:26379/main",
	}
}

// TestO5_TheGatewayTakesWhatTheChartGives shows that every example's file and environment are taken by the real binary, and mean what the values say.
func TestO5_TheGatewayTakesWhatTheChartGives(t *testing.T) {
	t.Parallel()
	secrets := secretsFor(t)
	for _, name := range examples(t) {
		o := rendered(t, "--values="+example(name))
		settings := effective(t, o, secrets)
		want := map[string]any{"grpc-addr": ":50051", "http-addr": ":8080", "health-addr": ":8081", "metrics-addr": ":9090", "log-format": "json"}
		switch name {
		case "secure":
			want = map[string]any{"insecure": false, "pod-server-name": "media-penstock.calls.svc", "redis-password": "(hidden)", "pod-secret": "(hidden)", "auth-token": "(hidden)",
				"pod-addr": "[127.0.0.1]:50051", "redis-wait": "1m30s"} // less than the startup probe gives
		case "jwt":
			want = map[string]any{"insecure": false, "jwt-jwks": "https://issuer.example.org:8443/keys"}
		case "host-port":
			want = map[string]any{"ice-udp-mux": 50000, "ice-udp-mux-ports": 2}
		case "udp-service":
			want = map[string]any{"ice-udp-mux": 50000}
		case "all":
			want = map[string]any{"max-sessions": 500, "max-queued-bytes": 2147483648, "otlp-endpoint": "http://collector.tracing:4317", "redis-sentinel-password": "(hidden)",
				"log-level": "warn", "max-streams": 50, "pod-server-name": "penstock.example.org", "drain-grace": "2m0s", "jwt-issuer": "https://issuer.example.org", "jwt-secret": "(hidden)"} // extraEnv and extraArgs win
		}
		for setting, value := range want {
			if settings[setting] != value {
				t.Errorf("%s: %s is %v, want %v", name, setting, settings[setting], value)
			}
		}
	}
}

// TestO5_TerminationGraceCoversTheDrain adds up the graces that the real binary will go by.
func TestO5_TerminationGraceCoversTheDrain(t *testing.T) {
	t.Parallel()
	secrets := secretsFor(t)
	for _, name := range examples(t) {
		o := rendered(t, "--values="+example(name))
		settings := effective(t, o, secrets)
		var sum time.Duration
		for _, setting := range []string{"endpoint-grace", "drain-grace", "stop-timeout"} {
			d, err := time.ParseDuration(settings[setting].(string))
			if err != nil {
				t.Fatal(err)
			}
			sum += d
		}
		if grace := time.Duration(at[int](o.pod(), "terminationGracePeriodSeconds")) * time.Second; grace < sum+5*time.Second {
			t.Errorf("%s: a pod is killed after %v, and its drain may take %v", name, grace, sum)
		}
		if at[any](o.container(), "lifecycle") != nil {
			t.Errorf("%s: a preStop hook takes time from the drain", name)
		}
	}
}

// TestO5_SecretsAreReferences shows that no secret is among what the chart renders where all are named, and that it renders the same each time.
func TestO5_SecretsAreReferences(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"secure", "all", "trial"} {
		o := rendered(t, "--values="+example(name))
		for _, m := range o.all {
			if m.kind() == "Secret" {
				t.Errorf("%s: the chart makes a Secret %s", name, m.name())
			}
		}
		var used []string
		for _, v := range at[[]any](o.pod(), "volumes") {
			if secret := at[map[string]any](v, "secret"); secret != nil {
				used = append(used, secret["secretName"].(string))
				if secret["defaultMode"] != 0o440 {
					t.Errorf("%s: %v may be read by anybody", name, secret)
				}
			}
		}
		want := map[string][]string{
			"secure": {"penstock-tls", "penstock-auth", "penstock-pods", "penstock-redis", "penstock-redis"},
			"trial":  {"penstock-pods", "penstock-redis"},
			"all":    {"penstock-tls", "penstock-auth", "callers", "penstock-jwt", "penstock-pods", "penstock-redis", "turn"},
		}[name]
		if !slices.Equal(used, want) {
			t.Errorf("%s: Secrets %v are mounted, want %v", name, used, want)
		}
	}
	trial := rendered(t, "--values="+example("trial"))
	redis := at[map[string]any](trial.must("Deployment", "-redis"), "spec", "template", "spec", "containers", 0)
	if from := at[map[string]any](env(redis, "REDIS_PASSWORD"), "valueFrom", "secretKeyRef"); from["name"] != "penstock-redis" || from["key"] != "redis-password" {
		t.Errorf("Redis has its password from %v, the gateways from penstock-redis", from)
	}
	if again := rendered(t, "--values="+example("trial")); !reflect.DeepEqual(again.all, trial.all) {
		t.Error("another rendering is another one")
	}
}

// TestO5_PodsHaveNoRights shows what the standard `restricted` does not ask for itself: every pod of the chart has a file system that it cannot write, and no
// account of Kubernetes.
func TestO5_PodsHaveNoRights(t *testing.T) {
	t.Parallel()
	o := rendered(t, "--values="+example("trial"))
	if at[any](o.must("ServiceAccount", ""), "automountServiceAccountToken") != false {
		t.Error("the account is mounted")
	}
	for name, pod := range map[string]map[string]any{
		"gateway": o.pod(), "redis": at[map[string]any](o.must("Deployment", "-redis"), "spec", "template", "spec"), "test": at[map[string]any](o.must("Pod", "-test"), "spec"),
	} {
		if pod["automountServiceAccountToken"] != false || pod["enableServiceLinks"] != false || at[int](pod, "securityContext", "runAsUser") == 0 {
			t.Errorf("%s: the pod has %v", name, pod)
		}
		for _, c := range at[[]any](pod, "containers") {
			if !at[bool](c, "securityContext", "readOnlyRootFilesystem") || at[any](c, "securityContext", "allowPrivilegeEscalation") != false {
				t.Errorf("%s: the container has %v", name, at[any](c, "securityContext"))
			}
			if at[any](c, "resources", "requests", "memory") == nil || at[any](c, "resources", "limits", "memory") == nil || at[any](c, "resources", "limits", "cpu") != nil {
				t.Errorf("%s: the container has resources %v", name, at[any](c, "resources"))
			}
		}
	}
}

// TestO5_ObservingIsRendered shows that the chart's dashboards and rules are those files, unchanged, with the labels that find them.
func TestO5_ObservingIsRendered(t *testing.T) {
	t.Parallel()
	o := rendered(t, "--values="+example("all"))
	boards := o.must("ConfigMap", "-dashboards")
	files, err := filepath.Glob(filepath.Join(chartDir, "dashboards", "*.json"))
	if err != nil || len(at[map[string]any](boards, "data")) != len(files) || at[string](boards, "metadata", "labels", "grafana_dashboard") != "1" {
		t.Errorf("%d dashboards of %d files: %v, %v", len(at[map[string]any](boards, "data")), len(files), err, boards["metadata"])
	}
	for _, f := range files {
		want, err := os.ReadFile(f)
		if got := at[string](boards, "data", filepath.Base(f)); err != nil || got != string(want) || !json.Valid([]byte(got)) {
			t.Errorf("%s is not what its file holds: %v", f, err)
		}
	}
	ruleFiles, err := filepath.Glob(filepath.Join(chartDir, "rules", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var want []any
	for _, f := range ruleFiles {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var file struct{ Groups []any }
		if err := yaml.Unmarshal(b, &file); err != nil {
			t.Fatal(err)
		}
		want = append(want, file.Groups...)
	}
	rule := o.must("PrometheusRule", "")
	if got := at[[]any](rule, "spec", "groups"); !sameJSON(t, got, want) || at[string](rule, "metadata", "labels", "release") != "prometheus" {
		t.Errorf("the rules are\n%v\nwant\n%v", got, want)
	}
	monitor := o.must("ServiceMonitor", "")
	selected := at[string](monitor, "spec", "selector", "matchLabels", "app.kubernetes.io/component")
	if selected != at[string](o.must("Service", "-pods"), "metadata", "labels", "app.kubernetes.io/component") || at[string](monitor, "spec", "endpoints", 0, "port") != "metrics" {
		t.Errorf("scrapes %v", monitor["spec"])
	}
}

// sameJSON tells whether two values are written alike; nothing and an empty list are.
func sameJSON(t *testing.T, a, b []any) bool {
	t.Helper()
	if len(a) == 0 && len(b) == 0 {
		return true
	}
	x, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(x) == string(y)
}
