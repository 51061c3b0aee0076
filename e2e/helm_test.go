//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestO5_HelmLint(t *testing.T) {
	t.Parallel()
	lint := []string{"lint", "--strict", chartDir, "--kube-version=" + kubeVersion}
	if _, err := helm(t, nil, lint...); err != nil {
		t.Error(err)
	}
	for _, name := range examples(t) {
		if _, err := helm(t, nil, append(lint, "--values="+example(name))...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := helm(t, nil, append(lint, "--set=replicas=many")...); err == nil {
		t.Error("lint takes a number that is none")
	}
}

// media are the ports of UDP in a list of ports.
func media(ports []any) (found []string) {
	for _, p := range ports {
		if at[string](p, "protocol") == "UDP" {
			found = append(found, fmt.Sprint(at[any](p, "containerPort"), "/", at[any](p, "hostPort")))
		}
	}
	return found
}

// TestO5_UDPInThreeWays shows, of each way and of the UDP Service, which ports are opened where, what is announced, and what the network policy lets in.
func TestO5_UDPInThreeWays(t *testing.T) {
	t.Parallel()
	const none = "<nil>"
	for _, c := range []struct {
		example     string
		ports       []string // container port / host port
		settings    []string
		announced   string // the field of the pod that is announced
		hostNetwork bool
		policy      string // port and endPort that the network policy lets in; "" where there is none
		strategy    string
	}{
		{"least", nil, nil, "", false, none + none, "Recreate"}, // two without Redis would not know each other's sessions
		{"trial", nil, nil, "", false, none + none, "RollingUpdate"},
		{"host-port", []string{"50000/50000", "50001/50001"}, []string{"ice-udp-mux: 50000", "ice-udp-mux-ports: 2"}, "status.hostIP", false, "5000050001", "RollingUpdate"},
		{"host-network", []string{"50000/50000"}, []string{"ice-udp-mux: 50000"}, "", true, "", "RollingUpdate"},
		{"udp-service", []string{"50000/<nil>"}, []string{"ice-udp-mux: 50000", `ice-announced-ips: ["192.0.2.10"]`}, "", false, "50000" + none, "Recreate"},
		{"node-port", []string{"30500/<nil>"}, []string{"ice-udp-mux: 30500"}, "status.hostIP", false, "30500" + none, "Recreate"},
	} {
		o := rendered(t, "--values="+example(c.example))
		if got := media(at[[]any](o.container(), "ports")); !slices.Equal(got, c.ports) {
			t.Errorf("%s: the pod opens %v, want %v", c.example, got, c.ports)
		}
		for _, line := range c.settings {
			if !strings.Contains(o.settings(), line+"\n") {
				t.Errorf("%s: no %q in\n%s", c.example, line, o.settings())
			}
		}
		if c.settings == nil && strings.Contains(o.settings(), "ice-") {
			t.Errorf("%s: sets up UDP:\n%s", c.example, o.settings())
		}
		if got := at[string](env(o.container(), "PENSTOCK_ICE_ANNOUNCED_IPS"), "valueFrom", "fieldRef", "fieldPath"); got != c.announced {
			t.Errorf("%s: announces %q, want %q", c.example, got, c.announced)
		}
		if got := at[bool](o.pod(), "hostNetwork"); got != c.hostNetwork {
			t.Errorf("%s: hostNetwork is %v", c.example, got)
		}
		if got := at[string](o.must("Deployment", ""), "spec", "strategy", "type"); got != c.strategy {
			t.Errorf("%s: the strategy is %s", c.example, got)
		}
		if policy := o.find("NetworkPolicy", ""); (policy == nil) != (c.policy == "") || policy != nil && udpIn(policy) != c.policy {
			t.Errorf("%s: the network policy lets in %v", c.example, policy)
		}
	}
}

// udpIn returns port and endPort of what a network policy lets in of UDP.
func udpIn(policy manifest) string {
	for _, rule := range at[[]any](policy, "spec", "ingress") {
		if p := at[any](rule, "ports", 0); at[string](p, "protocol") == "UDP" {
			return fmt.Sprint(at[any](p, "port")) + fmt.Sprint(at[any](p, "endPort"))
		}
	}
	return fmt.Sprint(nil) + fmt.Sprint(nil)
}

func TestO5_UDPService(t *testing.T) {
	t.Parallel()
	if o := rendered(t, set(least()...)...); o.find("Service", "-udp") != nil {
		t.Error("there is a UDP Service by default")
	}
	balancer := rendered(t, "--values="+example("udp-service")).must("Service", "-udp")
	if at[string](balancer, "spec", "type") != "LoadBalancer" || at[int](balancer, "spec", "ports", 0, "port") != 50000 || at[string](balancer, "spec", "ports", 0, "targetPort") != "media-0" {
		t.Errorf("got %v", balancer)
	}
	node := rendered(t, "--values="+example("node-port")).must("Service", "-udp")
	if at[string](node, "spec", "type") != "NodePort" || at[int](node, "spec", "ports", 0, "nodePort") != 30500 || at[int](node, "spec", "ports", 0, "port") != 30500 {
		t.Errorf("got %v", node)
	}
}

func TestO5_ProbesAreApart(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"least", "secure"} {
		c := rendered(t, "--values="+example(name)).container()
		for probe, path := range map[string]string{"startupProbe": "/readyz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"} {
			get := at[map[string]any](c, probe, "httpGet")
			if get["path"] != path || get["port"] != "health" || get["scheme"] != nil { // plain, also with TLS
				t.Errorf("%s: %s asks %v", name, probe, get)
			}
			if at[int](c, probe, "periodSeconds") == 0 || at[int](c, probe, "failureThreshold") == 0 || at[int](c, probe, "timeoutSeconds") == 0 {
				t.Errorf("%s: %s has no times", name, probe)
			}
		}
	}
}

// TestO5_PodsAreAddressed shows how pods find each other: by their own address, through a Service that also names pods which are not ready.
func TestO5_PodsAreAddressed(t *testing.T) {
	t.Parallel()
	o := rendered(t, "--values="+example("secure"))
	headless := o.must("Service", "-pods")
	if at[string](headless, "spec", "clusterIP") != "None" || !at[bool](headless, "spec", "publishNotReadyAddresses") {
		t.Errorf("the Service of pods is %v", headless["spec"])
	}
	if o.must("Service", "")["spec"] == nil || at[any](o.must("Service", ""), "spec", "publishNotReadyAddresses") != nil {
		t.Error("calls go to pods that are not ready")
	}
	if got := at[string](env(o.container(), "POD_IP"), "valueFrom", "fieldRef", "fieldPath"); got != "status.podIP" {
		t.Errorf("POD_IP is %q", got)
	}
	if got := at[string](env(o.container(), "PENSTOCK_POD_ADDR"), "value"); got != "[$(POD_IP)]:50051" {
		t.Errorf("the pod's address is %q", got)
	}
	if alone := rendered(t, set(least()...)...); env(alone.container(), "PENSTOCK_POD_ADDR") != nil {
		t.Error("a gateway that is alone has an address for other pods, which it refuses")
	}
}

// TestO5_AutoscalerNeverOutrunsTheDrain shows that at most one pod goes in the time that a pod may take to end, however long that is.
func TestO5_AutoscalerNeverOutrunsTheDrain(t *testing.T) {
	t.Parallel()
	for _, drain := range []int{0, 10, 300, 600} {
		o := rendered(t, set(append(least(), "redis.trial.enabled=true", "autoscaling.enabled=true", fmt.Sprintf("drain.drainGraceSeconds=%d", drain))...)...)
		grace := at[int](o.pod(), "terminationGracePeriodSeconds")
		down := at[map[string]any](o.must("HorizontalPodAutoscaler", ""), "spec", "behavior", "scaleDown")
		policies := at[[]any](down, "policies")
		if grace != drain+30 || len(policies) != 1 || at[string](policies[0], "type") != "Pods" || at[int](policies[0], "value") != 1 || at[string](down, "selectPolicy") != "Min" {
			t.Fatalf("with %d s of drain pods have %d s, and scale down by %v", drain, grace, down)
		}
		if period := at[int](policies[0], "periodSeconds"); period < grace || period > 1800 {
			t.Errorf("a pod has %d s to end, and the next one goes after %d", grace, period)
		}
		if window := at[int](down, "stabilizationWindowSeconds"); window < 2*grace || window > 3600 {
			t.Errorf("a pod has %d s to end, and the need is looked at for %d", grace, window)
		}
		if at[any](o.must("Deployment", ""), "spec", "replicas") != nil {
			t.Error("the Deployment says how many, against the autoscaler")
		}
	}
	metrics := at[[]any](rendered(t, "--values="+example("all")).must("HorizontalPodAutoscaler", ""), "spec", "metrics")
	if len(metrics) != 2 || at[int](metrics[0], "resource", "target", "averageUtilization") != 70 || at[string](metrics[1], "pods", "metric", "name") != "penstock_sessions" ||
		at[string](metrics[1], "pods", "target", "averageValue") != "400" { // four fifths of 500
		t.Errorf("it goes by %v", metrics)
	}
}

func TestO5_OnePodMoreAndNoneLess(t *testing.T) {
	t.Parallel()
	o := rendered(t, "--values="+example("trial"))
	rolling := at[map[string]any](o.must("Deployment", ""), "spec", "strategy", "rollingUpdate")
	if rolling["maxSurge"] != 1 || rolling["maxUnavailable"] != 0 {
		t.Errorf("rolls by %v", rolling)
	}
	budget := o.must("PodDisruptionBudget", "")
	if at[int](budget, "spec", "maxUnavailable") != 1 {
		t.Errorf("the budget is %v", budget["spec"])
	}
	var keys []string
	for _, c := range at[[]any](o.pod(), "topologySpreadConstraints") {
		keys = append(keys, at[string](c, "topologyKey"))
		if at[string](c, "labelSelector", "matchLabels", "app.kubernetes.io/component") != "gateway" {
			t.Errorf("spreads %v", c)
		}
	}
	if !slices.Equal(keys, []string{"kubernetes.io/hostname", "topology.kubernetes.io/zone"}) {
		t.Errorf("pods are spread over %v", keys)
	}
}

// TestO5_NetworkPolicy shows what goes in and out, with the ports that other values name.
func TestO5_NetworkPolicy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ example, in, out string }{
		{"least", "grpc http metrics", "UDP+53"},
		{"trial", "grpc http metrics grpc<gateway", "UDP+53 50051>gateway 6379>redis"},
		{"secure", "grpc http metrics grpc<gateway", "UDP+53 50051>gateway 6380"},
		{"jwt", "grpc http metrics", "UDP+53 8443"},
		{"all", "grpc<ns http<test metrics<ns grpc<gateway 50100 9999", "UDP+53 50051>gateway 6379+26379>ns 4317 443"},
	} {
		policy := rendered(t, "--values="+example(c.example)).must("NetworkPolicy", "")
		if got := rules(policy, "ingress", "from", "<"); got != c.in {
			t.Errorf("%s: in come %s\nwant %s", c.example, got, c.in)
		}
		if got := rules(policy, "egress", "to", ">"); got != c.out {
			t.Errorf("%s: out go %s\nwant %s", c.example, got, c.out)
		}
	}
	redis := rendered(t, "--values="+example("trial")).must("NetworkPolicy", "-redis")
	if got := rules(redis, "ingress", "from", "<"); got != "redis<gateway" {
		t.Errorf("who may call Redis: %s", got)
	}
}

// rules writes the rules of a network policy in short: ports joined by +, and the component or "ns" that they are for.
func rules(policy manifest, direction, peers, sign string) string {
	var all []string
	for _, rule := range at[[]any](policy, "spec", direction) {
		var ports []string
		for _, p := range at[[]any](rule, "ports") {
			port := at[any](p, "port")
			if port == nil {
				port = at[string](p, "protocol")
			}
			ports = append(ports, fmt.Sprint(port))
		}
		text := strings.Join(ports, "+")
		if peer := at[map[string]any](rule, peers, 0); peer["namespaceSelector"] != nil {
			text += sign + "ns"
		} else if peer != nil {
			text += sign + at[string](peer, "podSelector", "matchLabels", "app.kubernetes.io/component")
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

// TestO5_CommandsOfTheReadmeWork renders what the chart's page tells to install.
func TestO5_CommandsOfTheReadmeWork(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(chartDir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for line := range strings.Lines(strings.ReplaceAll(string(page), "\\\n", "")) {
		args, ok := strings.CutPrefix(line, "helm install penstock ./helm ")
		if !ok {
			continue
		}
		commands++
		if o := rendered(t, strings.Fields(args)...); o.pod() == nil {
			t.Errorf("%s renders no gateway", line)
		}
	}
	if commands != 2 {
		t.Errorf("the page has %d commands", commands)
	}
}
