//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// object describes a mapping in the schema of a custom resource.
func object(properties map[string]any, required ...any) map[string]any {
	o := map[string]any{"type": "object", "properties": properties}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

func list(items map[string]any) map[string]any {
	return map[string]any{"type": "array", "items": items}
}

// defineMonitoring makes the kinds of the Prometheus operator known.
func defineMonitoring(t *testing.T, c *cluster) {
	t.Helper()
	text := map[string]any{"type": "string"}
	texts := map[string]any{"type": "object", "additionalProperties": text}
	c.define(t, "ServiceMonitor", object(map[string]any{
		"selector": object(map[string]any{"matchLabels": texts}),
		"endpoints": list(object(map[string]any{
			"port": text, "path": text, "interval": text,
		})),
	}, "selector", "endpoints"))
	c.define(t, "PrometheusRule", object(map[string]any{"groups": list(object(map[string]any{
		"name": text, "interval": text,
		"rules": list(object(map[string]any{
			"alert": text, "record": text, "expr": map[string]any{"x-kubernetes-int-or-string": true}, "for": text, "keep_firing_for": text, "labels": texts, "annotations": texts,
		}, "expr")),
	}, "name"))}))
}

// TestO5_RealAPIServer installs, upgrades, rolls back and uninstalls on a real API server, whose namespace enforces `restricted`, and creates the pods that
// the Deployments there describe. No controller and no kubelet runs: whether a pod starts is for other tests.
func TestO5_RealAPIServer(t *testing.T) {
	c := newCluster(t)
	defineMonitoring(t, c)
	c.namespace(t, "calls", "restricted")
	c.namespace(t, "open", "privileged")
	t.Run("Life", func(t *testing.T) { t.Parallel(); life(t, c) })
	t.Run("Everything", func(t *testing.T) { t.Parallel(); everything(t, c) })
	t.Run("HostModes", func(t *testing.T) { t.Parallel(); hostModes(t, c) })
	t.Run("Kubeconform", func(t *testing.T) { t.Parallel(); conform(t, c) })
	t.Run("Notes", func(t *testing.T) { t.Parallel(); notesTell(t, c) })
	t.Run("KeptElsewhere", func(t *testing.T) { t.Parallel(); keptElsewhere(t, c) })
	t.Run("SeveralReleases", func(t *testing.T) { t.Parallel(); severalReleases(t, c) })
}

// life is a release's: the secret that was made at the first install stays through it, and nothing is left.
func life(t *testing.T, c *cluster) {
	c.namespace(t, "life", "restricted")
	before := c.list(t, "life")
	secret := func() string {
		t.Helper()
		return at[string](c.get(t, "/api/v1/namespaces/life/secrets/media-penstock-generated"), "data", "pod-secret")
	}
	replicas := func() any {
		t.Helper()
		return at[any](c.get(t, "/apis/apps/v1/namespaces/life/deployments/media-penstock"), "spec", "replicas")
	}
	checksum := func() string {
		t.Helper()
		return at[string](c.get(t, "/apis/apps/v1/namespaces/life/deployments/media-penstock"), "spec", "template", "metadata", "annotations", "checksum/config")
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := c.helm(t, append(args, "--namespace=life")...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	notes := run("install", "media", chartDir, "--values="+example("trial"))
	if !strings.Contains(notes, "media-penstock.life.svc:50051") || !strings.Contains(notes, "insecure=true") || strings.Contains(notes, "arning: would violate") {
		t.Errorf("the notes are\n%s", notes)
	}
	made, sum := secret(), checksum()
	if made == "" || replicas() != 2.0 {
		t.Fatalf("installed with secret %q and %v replicas", made, replicas())
	}
	run("upgrade", "media", chartDir, "--values="+example("trial"), "--set=replicas=3,config.max-sessions=7")
	if secret() != made || replicas() != 3.0 || checksum() == sum {
		t.Errorf("after the upgrade: secret kept %v, %v replicas, pods replaced %v", secret() == made, replicas(), checksum() != sum)
	}
	file := at[string](c.get(t, "/api/v1/namespaces/life/configmaps/media-penstock"), "data", "gateway.yaml")
	if !strings.Contains(file, "max-sessions: 7\n") {
		t.Errorf("after the upgrade the settings are\n%s", file)
	}
	run("rollback", "media", "1")
	if secret() != made || replicas() != 2.0 || checksum() != sum {
		t.Errorf("after going back: secret kept %v, %v replicas, pods as before %v", secret() == made, replicas(), checksum() == sum)
	}
	run("upgrade", "media", chartDir, "--values="+example("trial"), "--set=autoscaling.enabled=true")
	if replicas() != 1.0 { // the chart's page tells of it; nothing else would leave it to the autoscaler from here on
		t.Errorf("an autoscaler finds %v replicas", replicas())
	}
	if out, err := c.helm(t, "upgrade", "media", chartDir, "--namespace=life", "--values="+example("least"), "--set=replicas=2"); err == nil {
		t.Errorf("an upgrade to what cannot work is done: %s", out)
	}
	strategy := func() any {
		t.Helper()
		return at[any](c.get(t, "/apis/apps/v1/namespaces/life/deployments/media-penstock"), "spec", "strategy", "type")
	}
	run("upgrade", "media", chartDir, "--values="+example("udp-service"))
	if c.get(t, "/api/v1/namespaces/life/services/media-penstock-udp") == nil || strategy() != "Recreate" || secret() != "" {
		t.Errorf("with a UDP Service pods are replaced by %v, secret %q", strategy(), secret())
	}
	run("upgrade", "media", chartDir, "--values="+example("trial"))
	if c.get(t, "/api/v1/namespaces/life/services/media-penstock-udp") != nil || strategy() != "RollingUpdate" || secret() == "" {
		t.Errorf("without it pods are replaced by %v, secret %q", strategy(), secret())
	}
	run("uninstall", "media")
	if after := c.list(t, "life"); !slices.Equal(after, before) {
		t.Errorf("left are %v", after)
	}
}

// everything installs with all switched on, and has each object admitted for good.
func everything(t *testing.T, c *cluster) {
	if _, err := c.helm(t, "install", "media", chartDir, "--namespace=calls", "--values="+example("all")); err != nil {
		t.Fatal(err)
	}
	want := len(rendered(t, "--values="+example("all")).all) - 1 // all but the test's pod, which is a hook
	var have []string
	for _, name := range c.list(t, "calls") {
		if strings.Contains(name, " media-penstock") {
			have = append(have, name)
		}
	}
	if len(have) != want {
		t.Errorf("%d objects of %d are there: %v", len(have), want, have)
	}
	for _, suffix := range []string{"", "-pods"} { // the headless one has no addresses, but the same families
		spec := at[any](c.get(t, "/api/v1/namespaces/calls/services/media-penstock"+suffix), "spec")
		if families := fmt.Sprint(at[any](spec, "ipFamilies")); families != "[IPv6 IPv4]" || suffix == "" && len(at[[]any](spec, "clusterIPs")) != 2 {
			t.Errorf("the Service%s has %v", suffix, spec)
		}
	}
	pod := c.podOf(t, "/apis/apps/v1/namespaces/calls/deployments/media-penstock")
	if err := c.create(t, "/api/v1/namespaces/calls/pods", pod); err != nil {
		t.Errorf("restricted refuses the pod: %v", err)
	}
	test := rendered(t, "--values="+example("all")).must("Pod", "-test")
	delete(at[map[string]any](test, "metadata"), "annotations")
	if err := c.create(t, "/api/v1/namespaces/calls/pods", test); err != nil {
		t.Errorf("restricted refuses the test's pod: %v", err)
	}
	if _, err := c.helm(t, "uninstall", "media", "--namespace=calls"); err != nil {
		t.Fatal(err)
	}
}

// podOf returns a pod of a Deployment's template, as a controller would make it.
func (c *cluster) podOf(t *testing.T, deployment string) map[string]any {
	t.Helper()
	template := at[map[string]any](c.get(t, deployment), "spec", "template")
	if template == nil {
		t.Fatalf("there is no %s", deployment)
	}
	metadata := at[map[string]any](template, "metadata")
	delete(metadata, "creationTimestamp")
	metadata["name"] = "pod-of-" + deployment[strings.LastIndexByte(deployment, '/')+1:]
	return map[string]any{"metadata": metadata, "spec": template["spec"]}
}

// hostModes shows which ways of UDP a namespace that enforces `restricted` admits, and that the others are admitted where they are meant to be; and
// that the API server takes every object of every example.
func hostModes(t *testing.T, c *cluster) {
	c.namespace(t, "modes", "restricted")
	for name, admitted := range map[string]bool{
		"least": true, "trial": true, "secure": true, "jwt": true, "udp-service": true, "node-port": true, "all": true,
		"host-port": false, "host-network": false,
	} {
		o := rendered(t, "--values="+example(name))
		for _, m := range o.all {
			if err := c.create(t, collection(t, m.kind(), "open")+"?dryRun=All", m); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, namespace := range []string{"modes", "open"} {
			c.account(t, namespace, name+"-gateway")
			pod := at[map[string]any](o.must("Deployment", ""), "spec", "template")
			at[map[string]any](pod, "metadata")["name"] = name
			at[map[string]any](pod, "spec")["serviceAccountName"] = name + "-gateway"
			err := c.create(t, collection(t, "Pod", namespace), pod)
			switch want := admitted || namespace == "open"; {
			case want && err != nil:
				t.Errorf("%s is refused in %s: %v", name, namespace, err)
			case !want && (err == nil || !strings.Contains(err.Error(), "violates PodSecurity")):
				t.Errorf("%s is not refused in %s: %v", name, namespace, err)
			}
		}
	}
	redis := at[map[string]any](rendered(t, "--values="+example("trial")).must("Deployment", "-redis"), "spec", "template")
	at[map[string]any](redis, "metadata")["name"] = "redis"
	if err := c.create(t, collection(t, "Pod", "modes"), redis); err != nil {
		t.Errorf("restricted refuses the Redis for trials: %v", err)
	}
}

// severalReleases shows that two releases in one namespace do not meet: neither by name, nor by what they select.
func severalReleases(t *testing.T, c *cluster) {
	c.namespace(t, "two", "restricted")
	for _, release := range []string{"one", "penstock"} {
		if _, err := c.helm(t, "install", release, chartDir, "--namespace=two", "--values="+example("trial")); err != nil {
			t.Fatal(err)
		}
	}
	var made []string
	for _, name := range []string{"one-penstock", "penstock"} {
		selector := at[map[string]any](c.get(t, "/api/v1/namespaces/two/services/"+name), "spec", "selector")
		labels := at[map[string]any](c.get(t, "/apis/apps/v1/namespaces/two/deployments/"+name), "spec", "template", "metadata", "labels")
		for key, v := range selector {
			if labels[key] != v {
				t.Errorf("the Service %s selects %v, its pods have %v", name, selector, labels)
			}
		}
		for _, key := range []string{"pod-secret", "redis-password"} {
			made = append(made, at[string](c.get(t, "/api/v1/namespaces/two/secrets/"+name+"-generated"), "data", key))
		}
		if selector["app.kubernetes.io/instance"] != strings.TrimSuffix(name, "-penstock") {
			t.Errorf("the Service %s selects %v", name, selector)
		}
	}
	slices.Sort(made)
	if len(slices.Compact(made)) != 4 || len(made[0]) < 40 {
		t.Errorf("the secrets that were made are %v", made)
	}
	// A release may be called by a number, which labels must not be.
	if _, err := c.helm(t, "install", "2026", chartDir, "--namespace=two", "--values="+example("trial"), "--set=fullnameOverride=numbers"); err != nil {
		t.Error(err)
	}
}

// notesTell shows what is told after an installation, of each way to reach the gateways. It is asked of the server, without installing: nothing is there yet.
func notesTell(t *testing.T, c *cluster) {
	for _, n := range []struct{ example, values, want string }{
		{"least", "", "its sessions end with it.|Media: no inbound UDP.|40 s to end."},
		{"trial", "", "http://media-penstock.none.svc:8080/whip/SESSION|The Redis is for trials|it hands its sessions over."},
		{"secure", "service.type=NodePort", "https://media-penstock.none.svc:8080/whip/SESSION|From outside, on each node"},
		{"all", "", "From outside, on the same ports|https://whip.example.org/whip/SESSION|160 s to end"},
		{"all", "ingress.tls=null", "http://whip.example.org/whip/SESSION"},
		{"host-port", "", "Media: UDP 50000 to 50001 of each node with a gateway|A node has room for one gateway"},
		{"host-network", "", "gRPC, HTTP, health and metrics are open there, too.|A node has room for one gateway"},
		{"udp-service", "", "Media: UDP 50000 of the Service media-penstock-udp, which peers find at 192.0.2.10."},
		{"node-port", "", "Media: UDP 30500 of the node that the gateway is on"},
	} {
		out, err := c.helm(t, append([]string{"install", "media", chartDir, "--namespace=none", "--create-namespace", "--dry-run=server", "--values=" + example(n.example)}, set(n.values)...)...)
		if err != nil {
			t.Error(err)
		}
		_, notes, _ := strings.Cut(out, "\nNOTES:\n")
		for want := range strings.SplitSeq(n.want, "|") {
			if !strings.Contains(notes, want) {
				t.Errorf("%s %s: no %q in\n%s", n.example, n.values, want, notes)
			}
		}
	}
}

// conform checks all examples with kubeconform, strictly, by schemas that are what the API server itself says of each kind.
func conform(t *testing.T, c *cluster) {
	schemas := schemasOf(t, c)
	var all strings.Builder
	for _, name := range examples(t) {
		out, err := helm(t, nil, "template", name, chartDir, "--namespace=calls", "--kube-version="+kubeVersion, "--values="+namedSecrets, "--values="+example(name))
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(out)
	}
	if out, err := kubeconform(t, schemas, all.String()); err != nil || strings.Contains(out, "Valid: 0") || !strings.Contains(out, "Skipped: 0") {
		t.Errorf("%v\n%s", err, out)
	}
	for right, wrong := range map[string]string{"maxUnavailable: 1\n": "maxUnavailabel: 1\n", "replicas: 2\n": "replicas: two\n", "endPort: 50001": "endPort: {}"} {
		broken := strings.Replace(all.String(), right, wrong, 1)
		if out, err := kubeconform(t, schemas, broken); broken == all.String() || err == nil {
			t.Errorf("%q is taken: %s", wrong, out)
		}
	}
}

func kubeconform(t *testing.T, schemas, manifests string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "KUBECONFORM", "kubeconform"), "-strict", "-summary", "-schema-location="+schemas+"/{{.ResourceKind}}{{.KindSuffix}}.json")
	cmd.Stdin = strings.NewReader(manifests)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// schemasOf writes the API server's description of all kinds as JSON schemas, one a kind, which refuse fields that they do not name. It returns the directory.
func schemasOf(t *testing.T, c *cluster) string {
	t.Helper()
	definitions := at[map[string]any](c.get(t, "/openapi/v2"), "definitions")
	dir := t.TempDir()
	reference := regexp.MustCompile(`"#/definitions/([^"]+)"`)
	write := func(name string, v any) {
		b, err := json.Marshal(v)
		if err = errors.Join(err, os.WriteFile(filepath.Join(dir, name+".json"), reference.ReplaceAll(b, []byte(`"$1.json"`)), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for name, d := range definitions {
		d := d.(map[string]any)
		if d["properties"] != nil && d["additionalProperties"] == nil {
			d["additionalProperties"] = false
		}
		if d["format"] == "int-or-string" || strings.HasSuffix(name, ".api.resource.Quantity") {
			d = map[string]any{"type": []any{"string", "number"}}
		}
		write(name, d)
		for _, k := range at[[]any](d, "x-kubernetes-group-version-kind") {
			group, _, _ := strings.Cut(at[string](k, "group"), ".")
			suffix := strings.Trim(group+"-"+at[string](k, "version"), "-")
			write(strings.ToLower(at[string](k, "kind"))+"-"+suffix, map[string]any{"$ref": "#/definitions/" + name})
		}
	}
	return dir
}
