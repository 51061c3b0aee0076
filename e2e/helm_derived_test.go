//go:build e2e

package e2e

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestO5_NetworkPolicyFollowsURLs shows that the ports of all servers that URLs name or mean are let out to, and no others.
func TestO5_NetworkPolicyFollowsURLs(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]string{
		"redis.url=redis://a":                                              "6379",
		"redis.url=redis://a:7000/2":                                       "7000",
		"redis.url=rediss://[fd00::1]":                                     "6379",
		"redis.url=rediss://[fd00::1]:6380":                                "6380",
		`redis.url=redis-cluster://a:7000\,b\,[fd00::9]:7001`:              "7000+6379+7001",
		"redis.url=redis-sentinel://a:5000/main":                           "5000+6379",
		`redis.url=rediss-sentinel://a\,b/main?db=1`:                       "26379+6379",
		"redis.url=redis://a,networkPolicy.redisPorts={7000}":              "6379+7000",
		"redis.urlSecret.existingSecret=s":                                 "6379",
		"redis.urlSecret.existingSecret=s,networkPolicy.redisPorts={7000}": "7000",
		"config.otlp-endpoint=http://collector:4317":                       "4317",
		"config.otlp-endpoint=https://collector":                           "443", // what gRPC takes
		"config.otlp-endpoint=http://[fd00::1]:4317/":                      "4317",
		"auth.jwt.jwks.url=https://issuer.example.org/keys:1":              "443",
		"auth.jwt.jwks.url=https://[fd00::1]:8443/keys":                    "8443",
	} {
		policy := rendered(t, set(append(least(), values)...)...).must("NetworkPolicy", "")
		got := strings.TrimPrefix(strings.TrimPrefix(rules(policy, "egress", "to", ">"), "UDP+53 "), "50051>gateway ")
		if got != want {
			t.Errorf("%s: out go %s, want %s", values, got, want)
		}
	}
}

// TestO5_MemoryIsToldToTheRuntime shows that the Go runtime collects before the kernel kills, however the limit is written.
func TestO5_MemoryIsToldToTheRuntime(t *testing.T) {
	t.Parallel()
	for limit, want := range map[string]string{
		"": "3221225472", "=1Gi": "805306368", "=1.5Gi": "1207959552", "=512Mi": "402653184", "=2G": "1500000000", "=4294967296": "3221225472", "=4e9": "3000000000", "=null": "",
	} {
		values := least()
		if limit != "" {
			values = append(values, "resources.limits.memory"+limit)
		}
		if got := at[string](env(rendered(t, set(values...)...).container(), "GOMEMLIMIT"), "value"); got != want {
			t.Errorf("with a limit %s the runtime is told %q, want %q", limit, got, want)
		}
	}
}

// TestO5_PortsSayWhatTheySpeak shows that meshes are not told of clear text where there is TLS.
func TestO5_PortsSayWhatTheySpeak(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"least": "grpc http", "secure": "https https"} {
		o := rendered(t, "--values="+example(name))
		for _, suffix := range []string{"", "-pods"} {
			ports := at[[]any](o.must("Service", suffix), "spec", "ports")
			if got := at[string](ports[0], "appProtocol") + " " + at[string](ports[1], "appProtocol"); got != want {
				t.Errorf("%s: the Service%s speaks %s, want %s", name, suffix, got, want)
			}
		}
	}
}

// TestO5_ServicesHaveFamilies shows that what is said of families of addresses is said of every Service, and nothing by default.
func TestO5_ServicesHaveFamilies(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]string{
		"":                                   "<nil> <nil>",
		"service.ipFamilies={IPv6}":          "<nil> [IPv6]",
		"service.ipFamilyPolicy=SingleStack": "SingleStack <nil>",
		"service.ipFamilies={IPv6,IPv4},service.ipFamilyPolicy=PreferDualStack": "PreferDualStack [IPv6 IPv4]",
	} {
		o := rendered(t, append([]string{"--values=" + example("udp-service")}, set("redis.trial.enabled=true", values)...)...)
		for _, suffix := range []string{"", "-pods", "-udp", "-redis"} {
			spec := o.must("Service", suffix)["spec"]
			if got := fmt.Sprint(at[any](spec, "ipFamilyPolicy"), " ", at[any](spec, "ipFamilies")); got != want {
				t.Errorf("%s: the Service%s has %s, want %s", values, suffix, got, want)
			}
		}
	}
}

// TestO5_NothingIsNeeded shows that values which are taken out, as with null or by the values of a release of before, are as if they were the default.
func TestO5_NothingIsNeeded(t *testing.T) {
	t.Parallel()
	metrics := append([]string{"--values=" + example("trial")}, set("serviceMonitor.enabled=true", "prometheusRule.enabled=true", "dashboards.enabled=true")...)
	want := rendered(t, metrics...).all
	for _, value := range []string{"commonLabels", "podLabels", "podAnnotations", "serviceMonitor.labels", "prometheusRule.labels", "extraEnv", "extraEnvFrom",
		"extraVolumes", "nodeSelector", "tolerations", "settingsFromSecrets", "service.annotations", "service.ipFamilies", "service.ipFamilyPolicy", "ports.health"} {
		if got, err := template(t, append(metrics, set(value+"=null")...)...); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("without %s the chart renders something else, or %v", value, err)
		}
	}
}

// TestO5_LabelsAreNames shows that what is a label alone may look like one: a release cannot be given another, since Deployments select by it.
func TestO5_LabelsAreNames(t *testing.T) {
	t.Parallel()
	all, err := template(t, set(append(least(), "fullnameOverride=gateways", "nameOverride=2.Media_Gateway")...)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if name := at[string](m, "metadata", "labels", "app.kubernetes.io/name"); name != "2.Media_Gateway" {
			t.Errorf("the %s is labelled %q", m.kind(), name)
		}
	}
}

// TestO5_EachVariableIsThereOnce shows that no name is twice in the environment, that extraEnv takes the place of what the chart would set, and that no
// variable refers to one that comes after it.
func TestO5_EachVariableIsThereOnce(t *testing.T) {
	t.Parallel()
	const replace = "extraEnv[0].name=POD_IP,extraEnv[0].value=10.0.0.1,extraEnv[1].name=GOMEMLIMIT,extraEnv[1].value=2GiB,extraEnv[2].name=PENSTOCK_ICE_ANNOUNCED_IPS,extraEnv[2].value=192.0.2.1"
	for _, c := range []struct{ example, values, want string }{
		{"least", "", "PENSTOCK_CONFIG GOMEMLIMIT=3221225472"},
		{"host-port", "", "PENSTOCK_CONFIG GOMEMLIMIT=3221225472 POD_IP PENSTOCK_ICE_ANNOUNCED_IPS PENSTOCK_POD_ADDR=[$(POD_IP)]:50051"},
		{"host-port", replace, "PENSTOCK_CONFIG POD_IP=10.0.0.1 GOMEMLIMIT=2GiB PENSTOCK_ICE_ANNOUNCED_IPS=192.0.2.1 PENSTOCK_POD_ADDR=[$(POD_IP)]:50051"},
		{"host-port", "extraEnv[0].name=PENSTOCK_POD_ADDR,extraEnv[0].value=$(POD_IP):1", "PENSTOCK_CONFIG GOMEMLIMIT=3221225472 POD_IP PENSTOCK_ICE_ANNOUNCED_IPS PENSTOCK_POD_ADDR=$(POD_IP):1"},
		{"all", "extraEnv[0].name=PENSTOCK_ICE_TURN_CA,extraEnv[0].value=/a", "PENSTOCK_CONFIG GOMEMLIMIT=3221225472 POD_IP PENSTOCK_REDIS_URL PENSTOCK_REDIS_SENTINEL_PASSWORD PENSTOCK_ICE_TURN_CA=/a PENSTOCK_POD_ADDR=[$(POD_IP)]:50051"},
	} {
		var got []string
		for _, v := range at[[]any](rendered(t, append([]string{"--values=" + example(c.example)}, set(c.values)...)...).container(), "env") {
			text := at[string](v, "name")
			if value := at[string](v, "value"); value != "" && text != "PENSTOCK_CONFIG" {
				text += "=" + value
			}
			got = append(got, text)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s with %q has\n%v\nwant\n%s", c.example, c.values, got, c.want)
		}
	}
}

// TestO5_LabelsThatMeet shows that a label which two values give is there once, the nearer one's, and that values of labels are text whatever they look like.
func TestO5_LabelsThatMeet(t *testing.T) {
	t.Parallel()
	o := rendered(t, append([]string{"--values=" + example("all")}, set(`commonLabels.team=a`, `podLabels.team=b`, `serviceMonitor.labels.team=c`, `prometheusRule.labels.team=d`,
		`dashboards.labels.team=e`, `podAnnotations.kubectl\.kubernetes\.io/default-container=shipper`, `podAnnotations.checksum/config=x`)...)...)
	pod := at[map[string]any](o.must("Deployment", ""), "spec", "template", "metadata")
	got := fmt.Sprint(at[any](pod, "labels", "team"), at[any](o.must("ServiceMonitor", ""), "metadata", "labels", "team"), at[any](o.must("PrometheusRule", ""), "metadata", "labels", "team"),
		at[any](o.must("ConfigMap", "-dashboards"), "metadata", "labels", "team"), at[any](o.must("Service", ""), "metadata", "labels", "team"))
	if got != "bcdea" {
		t.Errorf("the labels are %s", got)
	}
	for _, m := range []manifest{o.must("ServiceMonitor", ""), o.must("PrometheusRule", ""), o.must("ConfigMap", "-dashboards"), o.must("Deployment", "")} {
		if labels := at[map[string]any](m, "metadata", "labels"); labels["example.org/team"] != "media" || labels["app.kubernetes.io/instance"] != "media" {
			t.Errorf("the %s has labels %v", m.kind(), labels)
		}
	}
	if container := at[string](pod, "annotations", "kubectl.kubernetes.io/default-container"); container != "shipper" {
		t.Errorf("the default container is %q", container)
	}
	if sum := at[string](pod, "annotations", "checksum/config"); len(sum) != 64 {
		t.Errorf("the checksum of settings is %q", sum)
	}
}

// TestO5_AllPodsGoWhereTheyMay shows that the pods of the test and of Redis bear the same nodes as the gateway's.
func TestO5_AllPodsGoWhereTheyMay(t *testing.T) {
	t.Parallel()
	o := rendered(t, append([]string{"--values=" + example("trial")}, set(`nodeSelector.disk=ssd`, "tolerations[0].key=media")...)...)
	for name, pod := range map[string]any{"gateway": o.pod(), "redis": at[any](o.must("Deployment", "-redis"), "spec", "template", "spec"), "test": o.must("Pod", "-test")["spec"]} {
		if at[string](pod, "nodeSelector", "disk") != "ssd" || at[string](pod, "tolerations", 0, "key") != "media" {
			t.Errorf("%s: the pod has %v", name, pod)
		}
	}
}

// TestO5_RolloutsAreGivenTime shows that a rollout is not called failed while a pod may still start, or end.
func TestO5_RolloutsAreGivenTime(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]int{"": 600, "probes.startup.failureThreshold=600": 2 * (40 + 1200), "drain.drainGraceSeconds=600": 2 * (630 + 120)} {
		o := rendered(t, set(append(least(), values)...)...)
		if got := at[int](o.must("Deployment", ""), "spec", "progressDeadlineSeconds"); got != want+10 {
			t.Errorf("with %q it is called failed after %d s, want %d", values, got, want+10)
		}
	}
}

// TestO5_MediaOverTCP shows that the TCP port of media is opened where that of UDP is.
func TestO5_MediaOverTCP(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"trial": "media-tcp 50100/<nil>", "host-port": "media-tcp 50100/50100", "host-network": "media-tcp 50100/50100"} {
		for values, want := range map[string]string{"config.ice-tcp-mux=50100": want, "config.ice-tcp-mux=0": "", "": ""} {
			got := ""
			for _, p := range at[[]any](rendered(t, append([]string{"--values=" + example(name)}, set(values)...)...).container(), "ports") {
				if at[int](p, "containerPort") == 50100 {
					got = fmt.Sprint(at[any](p, "name"), " ", at[any](p, "containerPort"), "/", at[any](p, "hostPort"))
				}
			}
			if got != want {
				t.Errorf("%s with %q opens %q, want %q", name, values, got, want)
			}
		}
	}
}
