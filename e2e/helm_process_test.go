//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestO5_RenderedPodsWork runs two gateways as the chart would have them run, with TLS, a token and a Redis with a password, and does to them what
// Kubernetes does: it probes them as the pod says, calls them through both, runs the release's test, and ends one by SIGTERM within the time that the pod gives.
func TestO5_RenderedPodsWork(t *testing.T) {
	t.Parallel()
	redis := freePort(t)
	daemon(t, program(t, "REDIS_SERVER", "redis-server"), "--bind", "127.0.0.1", "--port", redis, "--requirepass", "pass", "--save", "", "--appendonly", "no")
	secrets := secretsFor(t)
	a, b := startPod(t, redis, secrets), startPod(t, redis, secrets)
	for _, p := range []*podProcess{a, b} {
		for _, probe := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
			await(t, probe, func() bool { return p.probe(t, probe) == http.StatusOK })
		}
	}
	if out, err := a.releaseTest(t); err != nil || !strings.Contains(out, `"status":"ready"`) {
		t.Errorf("helm test would say %s, %v", out, err)
	}

	if _, err := a.test(t, a.testArgs()); err == nil || !strings.Contains(err.Error(), "exit status 1") { // 2 would be a refusal of the arguments
		t.Errorf("with the Service's own name helm test says %v", err)
	}

	// A session of one pod is told of events at the other, which calls its owner by address, over TLS, by the secret that both share.
	if out, err := a.call(t, "CreateSession", `{"session_id":"call"}`); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	events := `{"session_id":"call","events":[{"trackPublished":{"publication":{"participant":{"participantId":"ann"},"source":"SOURCE_CAMERA"}}}]}`
	if out, err := b.call(t, "ReportEvents", events); err != nil {
		t.Errorf("a call at the other pod: %s: %v", out, err)
	}
	if _, err := b.callWith(t, "", "GetSession", `{"session_id":"call"}`); err == nil || !strings.Contains(err.Error(), "Unauthenticated") {
		t.Errorf("a call without the token: %v", err)
	}

	// What the autoscaler goes by is among the metrics of a pod, for Prometheus to find where the ServiceMonitor says.
	scaled := at[string](rendered(t, "--values="+example("all")).must("HorizontalPodAutoscaler", ""), "spec", "metrics", 1, "pods", "metric", "name")
	if text := a.scrape(t); !strings.Contains(text, "\n"+scaled+"{") {
		t.Errorf("there is no %s among\n%s", scaled, text)
	}

	// The pod that goes hands its session over.
	if code := a.terminate(t); code != 0 || !strings.Contains(a.log.String(), `"handed_over":1`) {
		t.Errorf("the pod that hands over ends with %d\n%s", code, a.log)
	}
	out, err := b.call(t, "GetSession", `{"session_id":"call"}`)
	if err != nil || !strings.Contains(out, "SESSION_STATE_AWAITING_OFFER") {
		t.Errorf("after the other pod's end: %s, %v", out, err)
	}
	if out, err := a.releaseTest(t); err == nil {
		t.Errorf("helm test finds the pod that has gone: %s", out)
	}
	if code := b.terminate(t); code != 3 { // there is nobody left
		t.Errorf("the last pod ends with %d\n%s", code, b.log)
	}
}

// podProcess is a gateway that runs as a rendered pod says.
type podProcess struct {
	objects                     objects
	mounted                     mounted
	grpc, http, health, metrics string // ports
	token                       string
	cmd                         *exec.Cmd
	log                         *logBuffer
	ended                       chan error
}

// startPod renders a release with ports of its own and starts its container's command.
func startPod(t *testing.T, redis string, secrets map[string]string) *podProcess {
	t.Helper()
	p := &podProcess{grpc: freePort(t), http: freePort(t), health: freePort(t), metrics: freePort(t), log: &logBuffer{}, ended: make(chan error, 1), token: secrets["token"]}
	p.objects = rendered(t, append([]string{"--values=" + example("secure")}, set("redis.url=redis://127.0.0.1:"+redis, "redis.ca.existingSecret=",
		"ports.grpc="+p.grpc, "ports.http="+p.http, "ports.health="+p.health, "ports.metrics="+p.metrics, "drain.endpointGraceSeconds=1", "drain.drainGraceSeconds=5", "drain.marginSeconds=40")...)...)
	p.mounted = mount(t, p.objects, secrets)
	file, err := os.ReadFile(p.mounted.config)
	if err != nil {
		t.Fatal(err)
	}
	// A pod listens on all its addresses; this machine is not the pod's own.
	file = bytes.ReplaceAll(file, []byte(`-addr: ":`), []byte(`-addr: "127.0.0.1:`))
	if err := os.WriteFile(p.mounted.config, file, 0o600); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, arg := range at[[]any](p.objects.container(), "args") {
		args = append(args, arg.(string))
	}
	p.cmd = p.mounted.command(t, args...)
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("gateway: %s", p.log)
		}
	})
	return p
}

// probe asks what a probe of the container asks, as a kubelet does. It returns the status, or 0.
func (p *podProcess) probe(t *testing.T, name string) int {
	t.Helper()
	get := at[map[string]any](p.objects.container(), name, "httpGet")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: hang}
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%s%s", p.health, get["path"]))
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// scrape returns the metrics, as Prometheus reads them.
func (p *podProcess) scrape(t *testing.T) string {
	t.Helper()
	endpoint := at[map[string]any](rendered(t, "--values="+example("all")).must("ServiceMonitor", ""), "spec", "endpoints", 0)
	resp, err := http.Get("http://127.0.0.1:" + p.metrics + endpoint["path"].(string))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	return string(b)
}

// releaseTest runs what the pod of `helm test` runs. What stands for the Service is the pod itself: its name means nothing here.
func (p *podProcess) releaseTest(t *testing.T) (string, error) {
	t.Helper()
	args := p.testArgs()
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "media-penstock:", "127.0.0.1:")
	}
	return p.test(t, args)
}

// testArgs returns the arguments of the pod of `helm test`.
func (p *podProcess) testArgs() (args []string) {
	for _, arg := range at[[]any](p.objects.must("Pod", "-test"), "spec", "containers", 0, "args") {
		args = append(args, strings.ReplaceAll(arg.(string), "/etc/penstock", p.mounted.dir))
	}
	return args
}

func (p *podProcess) test(t *testing.T, args []string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "GATEWAY", "gateway"), args...)
	cmd.Env = []string{} // the pod has none
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// call calls a method of SessionService as a worker would: it verifies the Service's name, and shows the token.
func (p *podProcess) call(t *testing.T, method, request string) (string, error) {
	t.Helper()
	return p.callWith(t, p.token, method, request)
}

func (p *podProcess) callWith(t *testing.T, token, method, request string) (string, error) {
	t.Helper()
	return run(t.Context(), program(t, "GRPCURL", "grpcurl"), "-cacert", filepath.Join(p.mounted.dir, "tls", "ca.crt"), "-servername", "media-penstock.calls.svc",
		"-H", "authorization: Bearer "+token, "-d", request, "127.0.0.1:"+p.grpc, "penstock.v1.SessionService/"+method)
}

// terminate does what a kubelet does to end a pod: SIGTERM, and SIGKILL when the time that the pod gives is over, which must not be needed. It returns the exit code.
func (p *podProcess) terminate(t *testing.T) int {
	t.Helper()
	grace := time.Duration(at[int](p.objects.pod(), "terminationGracePeriodSeconds")) * time.Second
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-timer.C:
		t.Fatalf("it would be killed after %v\n%s", grace, p.log)
		return -1
	}
}
