//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// refusal are values that are refused, and a part of what is said.
type refusal struct{ values, want string }

// TestO5_TheSchemaRefuses shows that what is no value of this chart, or can be no good, is named with its path.
func TestO5_TheSchemaRefuses(t *testing.T) {
	t.Parallel()
	refused(t, []refusal{
		{"udp.mode=service,udp.announcedIPs={192.0.2.1},replicas=2", "'/replicas': maximum: got 2, want 1"},
		{"udp.mode=service,udp.announcedIPs={192.0.2.1},autoscaling.enabled=true", "'/autoscaling/enabled'"},
		{"udp.mode=service", "'/udp/announcedIPs': minItems"},
		{"udp.mode=service,udp.service.type=NodePort,udp.port=50000", "'/udp/port': maximum"},
		{"udp.mode=loadBalancer", "'/udp/mode'"},
		{"udp.port=0", "'/udp/port'"},
		{"udp.ports=65", "'/udp/ports'"},
		{"udp.announcedIPs={host.example.org}", "'/udp/announcedIPs/0'"},
		{"replicas=-1", "'/replicas'"},
		{"replicas=two", "'/replicas'"},
		{"replica=2", "'replica' not allowed"},
		{"auth.token.value=secret", "'value' not allowed"},
		{"redis.password=secret", "'/redis/password'"},
		{"redis.url=redis://:password@redis:6379", "'/redis/url'"},
		{"redis.url=http://redis", "'/redis/url'"},
		{"tls.existingSecret=Not_A_Name", "'/tls/existingSecret'"},
		{"image.tag=a b", "'/image/tag'"},
		{"image.digest=sha256:1", "'/image/digest'"},
		{"config.max-sessions.a=1", "'/config/max-sessions'"},
		{"config.maxSessions=1", "'/config'"},
		{"ingress.enabled=true", "'/ingress/hosts'"},
		{"drain.drainGraceSeconds=601", "'/drain/drainGraceSeconds'"},
		{"drain.marginSeconds=0", "'/drain/marginSeconds'"},
		{"podDisruptionBudget.maxUnavailable=0", "'/podDisruptionBudget/maxUnavailable'"},
		{`commonLabels.app\.kubernetes\.io/name=x`, "'/commonLabels/"},
		{`podLabels.app\.kubernetes\.io/instance=x`, "'/podLabels/"},
		{"settingsFromSecrets[0].setting=a", "'/settingsFromSecrets/0'"},
		{"auth.jwt.jwks.url=http://a", "'/auth/jwt/jwks/url'"},
		{"service.ipFamilies={IPv4,IPv4},service.ipFamilyPolicy=PreferDualStack", "'/service/ipFamilies'"},
		{"service.ipFamilies={ipv4}", "'/service/ipFamilies/0'"},
		{"service.ipFamilyPolicy=DualStack", "'/service/ipFamilyPolicy'"},
		{"extraEnv[0].value=1", "'/extraEnv/0'"},
		{"fullnameOverride=123", "'/fullnameOverride'"},
	})
}

// TestO5_BadValuesAreRefused shows that values which would give pods that do not work, or that anybody may call, render nothing, and that the message says what to do.
func TestO5_BadValuesAreRefused(t *testing.T) {
	t.Parallel()
	const longest = "drain.endpointGraceSeconds=600,drain.drainGraceSeconds=600,drain.stopTimeoutSeconds=600"
	refused(t, []refusal{
		{"image.repository=", "image.repository is empty: build the image"},
		{"nameOverride=Media", "media-Media cannot be the name of a Service"},
		{"fullnameOverride=2nd", "2nd cannot be the name of a Service"},
		{"fullnameOverride=media,nameOverride=-media", "-media cannot be a label"},
		{"insecure=false", "tls.existingSecret is empty"},
		{"insecure=false,tls.existingSecret=t", "name a Secret in auth.token.existingSecret"},
		{"insecure=false,tls.existingSecret=t,auth.token.existingSecret=a,redis.url=redis://a", "no public authority signs media-penstock.calls.svc"},
		{"auth.jwt.jwks.url=https://a,auth.jwt.jwks.configMap=b", "set one of them"},
		{"config.jwt-secret=s3cr3t", "use auth.jwt.secret.existingSecret"},
		{"replicas=2", "set redis.url or redis.urlSecret.existingSecret"},
		{"autoscaling.enabled=true", "set redis.url or redis.urlSecret.existingSecret"},
		{"redis.url=redis://a,redis.trial.enabled=true", "more than one Redis is named"},
		{"redis.trial.enabled=true,autoscaling.enabled=true,autoscaling.minReplicas=11", "autoscaling.minReplicas is above"},
		{"redis.trial.enabled=true,autoscaling.enabled=true,autoscaling.cpuPercent=0", "autoscaling has nothing to go by"},
		{"redis.trial.enabled=true,autoscaling.enabled=true," + longest, "more than 1800 s"},
		{"udp.port=65535,udp.ports=2", "beyond port 65535"},
		{"ports.http=50051", "are not four: give them different ones"},
		{"config.auth-token=s3cr3t-s3cr3t-s3cr3t", "use auth.token.existingSecret"},
		{"config.redis-url=redis://a", "use redis.url or redis.urlSecret.existingSecret"},
		{"config.drain-grace=5m", "use drain.drainGraceSeconds"},
		{"config.max-sesions=1", "config.max-sesions: there is no such setting"},
		{"config.redis-sentinel-password=secret", "use settingsFromSecrets"},
		{"settingsFromSecrets[0].setting=a-b,settingsFromSecrets[0].secretName=s,settingsFromSecrets[0].key=k,settingsFromSecrets[0].as=env", "there is no setting a-b"},
		{"settingsFromSecrets[0].setting=redis-sentinel-password,settingsFromSecrets[0].secretName=s,settingsFromSecrets[0].key=k,settingsFromSecrets[0].as=file", "set as to env"},
		{"config.grpc-addr=:1", "use ports.grpc"},
		{"config.metrics-addr=:1", "use ports.metrics"},
		{"config.health-addr=:1", "use ports.health"},
		{"config.ice-tcp-mux=8080", "give it another"},
		{"redis.url=redis://a,podSecret.existingSecret=", "name it in podSecret.existingSecret."},
		{"redis.trial.enabled=true,podSecret.existingSecret=,redis.password.existingSecret=", "name it in podSecret.existingSecret and in redis.password.existingSecret."},
		{"redis.trial.enabled=true,redis.password.existingSecret=", "name it in redis.password.existingSecret."},
		{"redis.trial.enabled=true,redis.ca.existingSecret=a", "leave redis.ca out"},
		{"redis.url=redis-cluster://a,redis.ca.existingSecret=a", "begin redis.url with rediss"},
		{"tls.clientCA.existingSecret=a", "set tls.existingSecret too"},
		{"auth.jwt.issuer=a", "there are no keys"},
		{"auth.jwt.audience={a}", "there are no keys"},
		{"service.ipFamilies={IPv4,IPv6}", "set service.ipFamilyPolicy to"},
		{"service.ipFamilies={IPv4,IPv6},service.ipFamilyPolicy=SingleStack", "set service.ipFamilyPolicy to"},
		{"service.externalTrafficPolicy=Local", "set service.type to LoadBalancer"},
		{"redis.trial.enabled=true,autoscaling.enabled=true,resources.requests.cpu=null", "set resources.requests.cpu"},
		{"extraEnv[0].name=A,extraEnv[0].value=1,extraEnv[1].name=A", "extraEnv has A twice"},
		{secret("redis-url") + ",redis.urlSecret.existingSecret=r", "use redis.url or redis.urlSecret.existingSecret"},
		{secret("auth-token"), "use auth.token.existingSecret"},
		{secret("ice-turn-ca") + "," + strings.ReplaceAll(secret("ice-turn-ca"), "[0]", "[1]"), "settingsFromSecrets has ice-turn-ca twice"},
	})
	// Past the schema, the templates refuse the same.
	args := append(set(append(least(), "udp.mode=service,replicas=2,redis.trial.enabled=true")...), "--skip-schema-validation")
	if _, err := template(t, args...); err == nil || !strings.Contains(err.Error(), "a UDP Service is for one replica") {
		t.Errorf("without its schema the chart takes a UDP Service for two: %v", err)
	}
}

// refused renders the chart with each of the values, beside the least that it takes.
func refused(t *testing.T, all []refusal) {
	t.Helper()
	for _, c := range all {
		out, err := template(t, set(append(least(), c.values)...)...)
		if err == nil {
			t.Errorf("%s renders %d objects", c.values, len(out))
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s is refused without %q:\n%v", c.values, c.want, err)
		}
	}
}

// secret are the values of a setting that comes from a Secret.
func secret(setting string) string {
	const at = "settingsFromSecrets[0]."
	return at + "setting=" + setting + "," + at + "secretName=s," + at + "key=k," + at + "as=env"
}
