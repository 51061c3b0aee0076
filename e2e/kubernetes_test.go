//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// cluster is a real API server of Kubernetes on a real etcd, both on loopback. Nothing else of Kubernetes runs: no controller makes pods of a
// Deployment, and no kubelet starts them, so nothing becomes ready.
type cluster struct {
	url, kubeconfig string
	client          *http.Client
}

// newCluster starts etcd and the API server, which end with the test.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	dir := t.TempDir()
	etcd := startEtcd(t, dir)
	ca := newAuthority(t)
	cert, key := ca.issue(t, "kube-apiserver", false, "127.0.0.1")
	adminCert, adminKey := ca.issue(t, "admin", true)
	files := map[string]string{"ca.crt": ca.pem, "server.crt": cert, "server.key": key, "admin.crt": adminCert, "admin.key": adminKey, "accounts.key": keyPEM(t, newKey(t))}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port := freePort(t)
	c := &cluster{url: "https://127.0.0.1:" + port, kubeconfig: filepath.Join(dir, "kubeconfig")}
	config := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"admin"}}],
		"clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority":%q}}],"users":[{"name":"admin","user":{"client-certificate":%q,"client-key":%q}}]}`,
		c.url, filepath.Join(dir, "ca.crt"), filepath.Join(dir, "admin.crt"), filepath.Join(dir, "admin.key"))
	if err := os.WriteFile(c.kubeconfig, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c.client = newClient(t, ca, adminCert, adminKey)
	accounts := filepath.Join(dir, "accounts.key")
	daemon(t, program(t, "KUBE_APISERVER", "kube-apiserver"),
		"--etcd-servers="+etcd, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+port, "--endpoint-reconciler-type=none",
		"--tls-cert-file="+filepath.Join(dir, "server.crt"), "--tls-private-key-file="+filepath.Join(dir, "server.key"), "--client-ca-file="+filepath.Join(dir, "ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+accounts, "--service-account-signing-key-file="+accounts,
		"--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112", "--allow-privileged=true", "--profiling=false")
	c.awaitReady(t)
	return c
}

// startEtcd returns the URL of an etcd of its own.
func startEtcd(t *testing.T, dir string) string {
	t.Helper()
	client, peer := "http://127.0.0.1:"+freePort(t), "http://127.0.0.1:"+freePort(t)
	daemon(t, program(t, "ETCD", "etcd"), "--data-dir="+filepath.Join(dir, "etcd"), "--unsafe-no-fsync", "--log-level=error",
		"--listen-client-urls="+client, "--advertise-client-urls="+client, "--listen-peer-urls="+peer,
		"--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)
	return client
}

// daemon runs a program until the test ends, and shows what it wrote if the test failed.
func daemon(t *testing.T, name string, args ...string) {
	t.Helper()
	var log logBuffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it keeps nothing that outlives the test
		_ = cmd.Wait()
		if text := log.String(); t.Failed() {
			t.Logf("%s: …%s", filepath.Base(name), text[max(0, len(text)-4000):])
		}
	})
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func newClient(t *testing.T, ca *authority, cert, key string) *http.Client {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: hang}
}

// awaitReady waits until the API server says that it is ready.
func (c *cluster) awaitReady(t *testing.T) {
	t.Helper()
	await(t, "the API server to be ready", func() bool {
		code, _, err := c.request(t.Context(), http.MethodGet, "/readyz", nil)
		return err == nil && code == http.StatusOK
	})
}

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited for %s for %v", what, hang)
		}
	}
}

// request sends a request to the API server.
func (c *cluster) request(ctx context.Context, method, path string, body any) (code int, answer []byte, err error) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	var content io.Reader
	if body != nil {
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, content)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// get returns an object, or nil if there is none.
func (c *cluster) get(t *testing.T, path string) map[string]any {
	t.Helper()
	code, answer, err := c.request(t.Context(), http.MethodGet, path, nil)
	if err != nil || code != http.StatusOK && code != http.StatusNotFound {
		t.Fatalf("GET %s: %d, %v: %s", path, code, err, answer)
	}
	if code == http.StatusNotFound {
		return nil
	}
	var o map[string]any
	if err := json.Unmarshal(answer, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// create creates an object, strictly: fields that the API server does not know are refused. The error is what it says.
func (c *cluster) create(t *testing.T, path string, object any) error {
	t.Helper()
	sign := "?"
	if strings.Contains(path, "?") {
		sign = "&"
	}
	code, answer, err := c.request(t.Context(), http.MethodPost, path+sign+"fieldValidation=Strict", object)
	if err != nil {
		t.Fatal(err)
	}
	if code != http.StatusCreated {
		return fmt.Errorf("POST %s: %d: %s", path, code, answer)
	}
	return nil
}

// namespace makes a namespace that enforces a pod security standard, and the account in it that a controller would make.
func (c *cluster) namespace(t *testing.T, name, standard string) {
	t.Helper()
	if err := c.create(t, "/api/v1/namespaces", map[string]any{"metadata": map[string]any{
		"name": name, "labels": map[string]any{"pod-security.kubernetes.io/enforce": standard, "pod-security.kubernetes.io/warn": standard},
	}}); err != nil {
		t.Fatal(err)
	}
	c.account(t, name, "default")
}

// account makes a ServiceAccount.
func (c *cluster) account(t *testing.T, namespace, name string) {
	t.Helper()
	if err := c.create(t, collection(t, "ServiceAccount", namespace), map[string]any{"metadata": map[string]any{"name": name}}); err != nil {
		t.Fatal(err)
	}
}

// helm runs helm against the cluster.
func (c *cluster) helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return helm(t, []string{"KUBECONFIG=" + c.kubeconfig}, args...)
}

// collections are where the kinds that the chart may make are found.
func collections() map[string]string {
	return map[string]string{
		"ConfigMap": "/api/v1/namespaces/NS/configmaps", "Secret": "/api/v1/namespaces/NS/secrets", "Service": "/api/v1/namespaces/NS/services",
		"ServiceAccount": "/api/v1/namespaces/NS/serviceaccounts", "Pod": "/api/v1/namespaces/NS/pods",
		"Deployment": "/apis/apps/v1/namespaces/NS/deployments", "PodDisruptionBudget": "/apis/policy/v1/namespaces/NS/poddisruptionbudgets",
		"HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/NS/horizontalpodautoscalers",
		"NetworkPolicy":           "/apis/networking.k8s.io/v1/namespaces/NS/networkpolicies", "Ingress": "/apis/networking.k8s.io/v1/namespaces/NS/ingresses",
		"ServiceMonitor": "/apis/monitoring.coreos.com/v1/namespaces/NS/servicemonitors", "PrometheusRule": "/apis/monitoring.coreos.com/v1/namespaces/NS/prometheusrules",
	}
}

// collection is where objects of a kind are, in a namespace.
func collection(t *testing.T, kind, namespace string) string {
	t.Helper()
	path := collections()[kind]
	if path == "" {
		t.Fatalf("the test does not know where a %s is", kind)
	}
	return strings.Replace(path, "NS", namespace, 1)
}

// list returns what there is in a namespace, as KIND NAME, in order.
func (c *cluster) list(t *testing.T, namespace string) (all []string) {
	t.Helper()
	for kind := range collections() {
		for _, item := range at[[]any](c.get(t, collection(t, kind, namespace)), "items") {
			all = append(all, kind+" "+at[string](item, "metadata", "name"))
		}
	}
	slices.Sort(all)
	return all
}

// define makes a kind of the Prometheus operator known, with as much of its schema as the chart uses.
func (c *cluster) define(t *testing.T, kind string, spec map[string]any) {
	t.Helper()
	plural := strings.ToLower(kind) + "s"
	err := c.create(t, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", map[string]any{
		"metadata": map[string]any{"name": plural + ".monitoring.coreos.com"},
		"spec": map[string]any{
			"group": "monitoring.coreos.com", "scope": "Namespaced",
			"names": map[string]any{"kind": kind, "plural": plural, "singular": strings.ToLower(kind), "listKind": kind + "List"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": map[string]any{
				"type": "object", "required": []any{"spec"}, "properties": map[string]any{"spec": spec},
			}}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	await(t, plural+" to be served", func() bool {
		return c.get(t, "/apis/monitoring.coreos.com/v1/namespaces/default/"+plural) != nil
	})
}
