//go:build e2e

package e2e

import (
	"reflect"
	"strings"
	"testing"
)

// keptElsewhere shows a release that Helm does not keep in Secrets, in a namespace without any: that is no missing cluster. From the first upgrade on nobody needs to list them.
func keptElsewhere(t *testing.T, c *cluster) {
	c.namespace(t, "kept", "restricted")
	rules := []map[string]any{
		{"apiGroups": []string{"apps", "policy", "networking.k8s.io"}, "resources": []string{"*"}, "verbs": []string{"*"}},
		{"apiGroups": []string{""}, "resources": []string{"configmaps", "services", "serviceaccounts"}, "verbs": []string{"*"}},
		{"apiGroups": []string{""}, "resources": []string{"secrets"}, "verbs": []string{"get", "create", "patch"}},
	}
	const rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/kept/"
	for path, object := range map[string]map[string]any{
		"roles":        {"rules": rules},
		"rolebindings": {"roleRef": map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "few"}, "subjects": []any{map[string]any{"kind": "User", "name": "few"}}},
	} {
		object["metadata"] = map[string]any{"name": "few"}
		if err := c.create(t, rbac+path, object); err != nil {
			t.Fatal(err)
		}
	}
	command := func(args ...string) error {
		_, err := helm(t, []string{"KUBECONFIG=" + c.kubeconfig, "HELM_DRIVER=configmap"}, append(args, "--namespace=kept")...)
		return err
	}
	run := func(args ...string) error {
		return command(append(args, "media", chartDir, "--values="+example("trial"))...)
	}
	made := func() map[string]any {
		t.Helper()
		return at[map[string]any](c.get(t, "/api/v1/namespaces/kept/secrets/media-penstock-generated"), "data")
	}
	await(t, "the role", func() bool { return command("list", "--kube-as-user=few") == nil }) // the API server looks roles up in a copy that follows
	if err := run("install", "--kube-as-user=few"); err == nil || !strings.Contains(err.Error(), `cannot list resource "secrets"`) {
		t.Errorf("an installation by who may not list Secrets: %v", err)
	}
	if err := run("install"); err != nil {
		t.Fatal(err)
	}
	before := made()
	if err := run("upgrade", "--kube-as-user=few", "--set=replicas=3"); err != nil || len(before) != 2 || !reflect.DeepEqual(made(), before) {
		t.Errorf("after an upgrade by who may not list Secrets: %d secrets, kept %v, %v", len(before), reflect.DeepEqual(made(), before), err)
	}
}
