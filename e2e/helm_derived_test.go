//go:build e2e

package e2e

import (
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
