package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// parse reads a command line as `gateway serve` does.
func parse(t *testing.T, args ...string) (Config, error) {
	t.Helper()
	var cli struct {
		Serve struct {
			Flags `embed:""`
		} `cmd:""`
	}
	parser, err := kong.New(&cli, append(Options(), kong.Exit(func(int) { t.Fatal("exit") }))...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append([]string{"serve"}, args...)); err != nil {
		return Config{}, err
	}
	c := cli.Serve.Config
	if err := c.Complete(); err != nil {
		return Config{}, err
	}
	return c, c.Check()
}

// podSecret is long enough.
const podSecret = "0123456789abcdef0123456789abcdef"

// write makes a file and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultIsWhatNoFlagsGive(t *testing.T) {
	got, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	if want := Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("no flags give\n%#v, Default gives\n%#v", got, want)
	}
	want := Default()
	if err := want.Check(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
}

func TestFlagWinsOverEnvironmentOverFile(t *testing.T) {
	file := write(t, "c.yaml", "log-level: debug\nmax-sessions: 7\nmax-streams: 8\ndrain-grace: 1m\n")
	t.Setenv("PENSTOCK_CONFIG", file)
	t.Setenv("PENSTOCK_MAX_SESSIONS", "70")
	t.Setenv("PENSTOCK_MAX_STREAMS", "80")
	got, err := parse(t, "--max-streams=800")
	if err != nil {
		t.Fatal(err)
	}
	if got.LogLevel != "debug" || got.DrainGrace != time.Minute {
		t.Errorf("of the file came %q and %v, want debug and 1m", got.LogLevel, got.DrainGrace)
	}
	if got.MaxSessions != 70 {
		t.Errorf("sessions %d, want 70 of the environment", got.MaxSessions)
	}
	if got.MaxStreams != 800 {
		t.Errorf("streams %d, want 800 of the command line", got.MaxStreams)
	}
}

func TestEverySettingCanComeFromEveryPlace(t *testing.T) {
	values := map[string]string{
		"grpc-addr": "127.0.0.1:1", "http-addr": "127.0.0.1:2", "metrics-addr": "127.0.0.1:3", "health-addr": "127.0.0.1:5", "debug-addr": "127.0.0.1:4", "tls-cert": "c", "tls-key": "k", "auth-token": "0123456789abcdef",
		"tls-min-version": "1.2", "tls-client-ca": "ca", "tls-client-auth": "required", "tls-client-actions": "admin", "jwt-secret": podSecret, "jwt-secret-file": "f", "jwt-jwks": "keys.json",
		"jwt-issuer": "i", "jwt-audience": "a", "jwt-tenant-claim": "org", "jwt-leeway": "7s", "jwt-max-lifetime": "2h", "expiry-warning": "3s",
		"auth-token-file": "f", "insecure": "true", "redis-url": "r", "redis-username": "u", "redis-password": "p", "redis-password-file": "pf", "redis-sentinel-username": "su",
		"redis-sentinel-password": "sp", "redis-tls-ca": "rca", "redis-tls-cert": "rc", "redis-tls-key": "rk",
		"redis-tls-server-name": "rn", "redis-timeout": "2s", "redis-wait": "3s", "heartbeat": "2s", "lease-ttl": "9s", "pod-secret": "ps", "pod-secret-file": "psf", "pod-addr": "h:1",
		"pod-ca": "pca", "pod-server-name": "psn", "pod-mtls": "true", "session-grace": "1m", "whip-create": "false",
		"whip-origins": "https://a.example,https://b.example", "ice-announced-ips": "192.0.2.1,192.0.2.2",
		"ice-udp-port-min": "100", "ice-udp-port-max": "200", "ice-loopback": "off", "ice-gather-timeout": "3s",
		"ice-udp-mux": "7000", "ice-udp-mux-ports": "2", "ice-tcp-mux": "7001", "ice-tcp-mux-connections": "9", "ice-interfaces": "eth0,eth1*",
		"ice-allow-networks": "10.0.0.0/8,fd00::/8", "ice-deny-networks": "10.1.0.0/16", "ice-ipv6": "false", "ice-refuse-private-candidates": "true",
		"ice-mdns": "true", "ice-udp-mux-receive-buffer": "10", "ice-receive-buffer": "11", "ice-turn-ca": "ca",
		"max-sessions": "3", "max-streams": "4", "max-queue-bytes": "5", "max-queued-bytes": "12", "stall-timeout": "6s", "max-picture-pixels": "6", "max-sdp-bytes": "7",
		"decode-workers": "8", "max-sessions-per-caller": "2", "max-streams-per-caller": "14", "max-calls": "15", "max-calls-per-caller": "16", "caller-rate": "17",
		"caller-burst": "18", "signal-rate": "19", "signal-burst": "20", "whip-rate": "21", "whip-burst": "22", "failed-auth-rate": "35", "failed-auth-burst": "36", "max-health-watches": "23",
		"max-consumers-per-track": "24", "max-media-per-session": "25", "max-publications-per-session": "26", "max-participants-per-session": "27",
		"max-connections": "28", "max-connections-per-address": "29", "max-connection-streams": "30", "max-header-bytes": "31", "connection-idle": "32s", "request-timeout": "33s", "handshake-timeout": "34s",
		"log-level": "warn", "log-format": "json", "otlp-endpoint": "http://h", "trace-sample": "0.5", "trace-callers-rate": "13", "endpoint-grace": "3s", "drain-grace": "4s", "stop-timeout": "5s",
	}
	for _, s := range Settings() {
		t.Run(s.Name, func(t *testing.T) {
			value, ok := values[s.Name]
			if !ok {
				t.Fatal("no value in the table of this test")
			}
			flag := raw(t, "--"+s.Name+"="+value)
			file := raw(t, "--config="+write(t, "c.yaml", fmt.Sprintf("%s: %s\n", s.Name, value)))
			t.Setenv(s.Env, value)
			env := raw(t)
			if !reflect.DeepEqual(flag, env) || !reflect.DeepEqual(flag, file) {
				t.Errorf("the flag gives\n%#v, the environment\n%#v, the file\n%#v", flag, env, file)
			}
			if reflect.DeepEqual(flag, Default()) {
				t.Error("it changes nothing")
			}
		})
	}
}

// raw parses without completing or validating.
func raw(t *testing.T, args ...string) Config {
	t.Helper()
	var cli Flags
	parser, err := kong.New(&cli, Options()...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	return cli.Config
}

func TestListsInTheFile(t *testing.T) {
	got, err := parse(t, "--config", write(t, "c.yaml", "ice-announced-ips: [192.0.2.1, '2001:db8::1']\nwhip-origins:\n  - https://a.example\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"192.0.2.1", "2001:db8::1"}; !reflect.DeepEqual(got.AnnouncedIPs, want) {
		t.Errorf("addresses %q, want %q", got.AnnouncedIPs, want)
	}
	if want := []string{"https://a.example"}; !reflect.DeepEqual(got.WHIPOrigins, want) {
		t.Errorf("origins %q, want %q", got.WHIPOrigins, want)
	}
}

func TestO7_FilesAreRefusedByNameAndLine(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown", "log-level: info\nlog-levvel: debug\n", `c.yaml:2: unknown setting "log-levvel"; did you mean "log-level"?`},
		{"unknown with underscores", "grpc_addr: 127.0.0.1:1\n", `c.yaml:1: unknown setting "grpc_addr"; did you mean "grpc-addr"?`},
		{"another file", "config: other.yaml\n", `c.yaml:1: unknown setting "config"`},
		{"unlike anything", "zzzzzzzzzz: 1\n", "`gateway config` prints all settings"},
		{"twice", "log-level: info\nmax-streams: 1\nlog-level: warn\n", "c.yaml:3: log-level is set in line 1 already"},
		{"not YAML", "log-level: [info\n", "c.yaml: is not YAML: "},
		{"a list", "- log-level\n", "c.yaml:1: is not a mapping; write one"},
		{"nested", "log-level:\n  a: b\n", "c.yaml:1: log-level: is neither a value nor a list"},
		{"nested list", "whip-origins: [[a]]\n", "c.yaml:1: whip-origins: is a list of something else"},
		{"no value", "log-level:\n", "c.yaml:1: log-level: has no value"},
		{"two documents", "log-level: info\n---\nlog-level: warn\n", "c.yaml: has more than one document"},
		{"not a duration", "\n\ndrain-grace: soon\n", `c.yaml:3: "soon" is not a duration; write one like 10s`},
		{"not a number", "max-sessions: many\n", `c.yaml:1: "many" is not a whole number`},
		{"not a port", "ice-udp-port-min: 70000\n", `c.yaml:1: "70000" is not a whole number from 0 to 65535`},
		{"not a bool", "insecure: perhaps\n", `c.yaml:1: "perhaps" is neither true nor false`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(t, "--config", write(t, "c.yaml", c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant … %s …", err, c.want)
			}
		})
	}
}

func TestO7_UnreadableFiles(t *testing.T) {
	_, err := parse(t, "--config", filepath.Join(t.TempDir(), "none.yaml"))
	if err == nil || !strings.Contains(err.Error(), "--config (PENSTOCK_CONFIG): cannot be read") {
		t.Errorf("of a file that is not there: %v", err)
	}
	if _, err := parse(t, "--config", t.TempDir()); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("of a directory: %v", err)
	}
	big := write(t, "big.yaml", strings.Repeat("#\n", maxFileBytes))
	if _, err := parse(t, "--config", big); err == nil || !strings.Contains(err.Error(), "is larger than") {
		t.Errorf("of a large file: %v", err)
	}
}

func TestEmptyFilesSetNothing(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "null\n"} {
		got, err := parse(t, "--config", write(t, "c.yaml", text))
		if err != nil || !reflect.DeepEqual(got, Default()) {
			t.Errorf("of %q: %#v, %v", text, got, err)
		}
	}
}

// TestO7_LimitsHaveRanges: so have the addresses that are served only where asked for.
func TestO7_LimitsHaveRanges(t *testing.T) {
	for _, c := range []struct {
		args          []string
		setting, mend string
	}{
		{[]string{"--debug-addr=0.0.0.0:1"}, "debug-addr", "listen on 127.0.0.1"},
		{[]string{"--debug-addr=127.0.0.1:50051"}, "debug-addr", "give them different ports"},
		{[]string{"--max-calls=1"}, "max-calls", "use 100 to 10000000"},
		{[]string{"--max-connection-streams=10"}, "max-connection-streams", "use 256 to 100000"},
		{[]string{"--request-timeout=1ms"}, "request-timeout", "use 1s to 10m0s"},
		{[]string{"--caller-rate=9000"}, "caller-burst", "use at least as many"},
	} {
		refused(t, c.args, c.setting, c.mend)
	}
}

func TestO7_ValidateNamesTheSettingAndTheMend(t *testing.T) {
	token := write(t, "token", "0123456789abcdef\n")
	for _, c := range []struct {
		args          []string
		setting, mend string
	}{
		{[]string{"--grpc-addr=here"}, "grpc-addr", "write it like 127.0.0.1:50051"},
		{[]string{"--http-addr=127.0.0.1:http"}, "http-addr", "use a number from 0 to 65535"},
		{[]string{"--http-addr=127.0.0.1:50051"}, "http-addr", "give them different ports"},
		{[]string{"--grpc-addr=:50051"}, "grpc-addr", "or listen on 127.0.0.1, or say --insecure"},
		{[]string{"--http-addr=0.0.0.0:8080"}, "http-addr", "set --tls-cert, --tls-key and --auth-token-file"},
		{[]string{"--grpc-addr=example.org:1", "--auth-token-file=" + token}, "grpc-addr", "--tls-cert"},
		{[]string{"--auth-token=short"}, "auth-token", "openssl rand"},
		{[]string{"--jwt-secret=short"}, "jwt-secret", "openssl rand"},
		{[]string{"--jwt-secret=" + podSecret + " short"}, "jwt-secret", "openssl rand"},
		{[]string{"--jwt-secret=(hidden)"}, "jwt-secret", "write the secret itself"},
		{[]string{"--jwt-jwks=http://issuer.example/keys"}, "jwt-jwks", "over http"},
		{[]string{"--jwt-issuer=x"}, "jwt-issuer", "--jwt-secret-file"},
		{[]string{"--jwt-audience=x"}, "jwt-audience", "--jwt-secret-file"},
		{[]string{"--jwt-secret=" + podSecret, "--jwt-tenant-claim="}, "jwt-tenant-claim", "name the claim"},
		{[]string{"--jwt-leeway=1h"}, "jwt-leeway", "use 1s to 5m"},
		{[]string{"--jwt-max-lifetime=1s"}, "jwt-max-lifetime", "use 1m"},
		{[]string{"--expiry-warning=0s"}, "expiry-warning", "use 1s"},
		{[]string{"--tls-min-version=1.1"}, "tls-min-version", "use one of these"},
		{[]string{"--tls-client-auth=always"}, "tls-client-auth", "use one of these"},
		{[]string{"--tls-client-auth=required"}, "tls-client-ca", "name the PEM file"},
		{[]string{"--tls-client-actions=fly"}, "tls-client-actions", "signal, stream, admin"},
		{[]string{"--tls-client-ca=/none"}, "tls-client-ca", "set --tls-cert"},
		{[]string{"--auth-token=0123456789 abcdef"}, "auth-token", "letters, digits"},
		{[]string{"--auth-token=(hidden)"}, "auth-token", "write the secret itself"},
		{[]string{"--auth-token=0123456789abcdef", "--auth-token-file=" + token}, "auth-token-file", "set only one"},
		{[]string{"--auth-token-file=/does/not/exist"}, "auth-token-file", "name a file that holds the token"},
		{[]string{"--auth-token-file=" + write(t, "empty", "\n")}, "auth-token-file", "write the token into it"},
		{[]string{"--tls-cert=c"}, "tls-key", "name the PEM file"},
		{[]string{"--tls-key=k"}, "tls-cert", "name the PEM file"},
		{[]string{"--tls-cert=/none", "--tls-key=/none"}, "tls-cert", "unencrypted PEM key"},
		{[]string{"--redis-url=http://127.0.0.1"}, "redis-url", "redis-cluster://host:port"},
		{[]string{"--redis-url=redis://a,b"}, "redis-url", "redis-sentinel://"},
		{[]string{"--redis-url=redis-sentinel://a"}, "redis-url", "redis-sentinel://"},
		{[]string{"--redis-url=redis-cluster://a/3"}, "redis-url", "redis-cluster://"},
		{[]string{"--redis-url=redis://a?tls=no"}, "redis-url", "redis://127.0.0.1:6379"},
		{[]string{"--redis-url=unix://socket"}, "redis-url", "redis://127.0.0.1:6379"},
		{[]string{"--redis-password=p"}, "redis-password", "set --redis-url too"},
		{[]string{"--redis-url=redis://a", "--redis-tls-ca=f"}, "redis-tls-ca", "begin --redis-url with rediss"},
		{[]string{"--redis-url=rediss://a", "--redis-tls-ca=/none"}, "redis-tls-ca", "name a PEM file"},
		{[]string{"--redis-url=rediss://a", "--redis-tls-cert=f"}, "redis-tls-key", "name the PEM file"},
		{[]string{"--redis-url=rediss://a", "--redis-tls-key=f"}, "redis-tls-cert", "name the PEM file"},
		{[]string{"--redis-url=rediss://a", "--redis-tls-key=/none", "--redis-tls-cert=/none"}, "redis-tls-cert", "unencrypted PEM key"},
		{[]string{"--redis-url=redis://a", "--redis-password=p", "--redis-password-file=f"}, "redis-password-file", "set only one"},
		{[]string{"--redis-url=redis://a"}, "pod-secret-file", "the same secret"},
		{[]string{"--redis-url=redis://a", "--pod-secret=short"}, "pod-secret", "at least 32"},
		{[]string{"--redis-url=redis://a", "--pod-secret=" + podSecret + " short"}, "pod-secret", "at least 32"},
		{[]string{"--redis-url=redis://a", "--pod-secret=(hidden)"}, "pod-secret", "write the secret itself"},
		{[]string{"--redis-url=redis://a", "--pod-secret-file=/none"}, "pod-secret-file", "holds the secret"},
		{[]string{"--redis-url=redis://a", "--pod-secret=" + podSecret, "--pod-secret-file=f"}, "pod-secret-file", "set only one"},
		{[]string{"--pod-secret=" + podSecret}, "pod-secret", "set --redis-url too"},
		{[]string{"--pod-addr=10.0.0.1:1"}, "pod-addr", "set --redis-url too"},
		{[]string{"--redis-url=redis://a", "--pod-secret=" + podSecret, "--pod-addr=10.0.0.1"}, "pod-addr", "10.1.2.3:50051"},
		{[]string{"--redis-url=redis://a", "--pod-secret=" + podSecret, "--pod-addr=pod/a:1"}, "pod-addr", "10.1.2.3:50051"},
		{[]string{"--redis-url=redis://a", "--pod-secret=" + podSecret, "--pod-addr=10.0.0.1:0"}, "pod-addr", "from 1 to 65535"},
		{[]string{"--redis-url=redis://a", "--pod-secret=" + podSecret, "--pod-addr=0.0.0.0:1"}, "pod-addr", "other pods reach this one"},
		{[]string{"--redis-url=redis://a", "--pod-secret=" + podSecret, "--pod-ca=f"}, "pod-ca", "set --tls-cert"},
		{[]string{"--redis-url=redis://a", "--pod-secret=" + podSecret, "--pod-mtls"}, "pod-mtls", "set --tls-cert"},
		{[]string{"--redis-url=redis://a", "--redis-timeout=1ms"}, "redis-timeout", "use 50ms to 30s"},
		{[]string{"--whip-origins=example.org"}, "whip-origins", "https://example.org"},
		{[]string{"--whip-origins=https://example.org/path"}, "whip-origins", "scheme, host and port only"},
		{[]string{"--whip-origins=https://Example.org"}, "whip-origins", "https://example.org"},
		{[]string{"--whip-origins=https://example.org:443"}, "whip-origins", "https://example.org"},
	} {
		refused(t, c.args, c.setting, c.mend)
	}
}

func TestO7_ValidateNamesTheRangeOfALimit(t *testing.T) {
	for _, c := range []struct {
		args          []string
		setting, mend string
	}{
		{[]string{"--max-sessions=0"}, "max-sessions", "use 1 to"},
		{[]string{"--max-queue-bytes=5"}, "max-queue-bytes", "use 1048576 to"},
		{[]string{"--decode-workers=-1"}, "decode-workers", "use 0 to 1024"},
		{[]string{"--session-grace=1ms"}, "session-grace", "use 1s to 1h0m0s"},
		{[]string{"--drain-grace=-1s"}, "drain-grace", "use 0s to 10m0s"},
		{[]string{"--endpoint-grace=11m"}, "endpoint-grace", "use 0s to 10m0s"},
		{[]string{"--log-level=loud"}, "log-level", "use one of these"},
		{[]string{"--log-format=xml"}, "log-format", "use one of these"},
		{[]string{"--otlp-endpoint=localhost:4317"}, "otlp-endpoint", "write it like http://127.0.0.1:4317"},
		{[]string{"--trace-sample=1.5"}, "trace-sample", "use 0 to 1"},
		{[]string{"--trace-sample=NaN"}, "trace-sample", "use 0 to 1"},
		{[]string{"--trace-callers-rate=-1"}, "trace-callers-rate", "use 0 to 100000"},
	} {
		refused(t, c.args, c.setting, c.mend)
	}
}

// refused checks that a command line is refused by the name of the setting, with a mend.
func refused(t *testing.T, args []string, setting, mend string) {
	t.Helper()
	t.Run(strings.Join(args, " "), func(t *testing.T) {
		_, err := parse(t, args...)
		var fault *Error
		if !errors.As(err, &fault) {
			t.Fatalf("got %v, want an *Error", err)
		}
		if fault.Setting != setting || !strings.Contains(fault.Mend, mend) {
			t.Errorf("got %v\nwant --%s … %s", err, setting, mend)
		}
		if want := "--" + setting + " (PENSTOCK_"; !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q does not begin with %q", err, want)
		}
	})
}

func TestExposure(t *testing.T) {
	for _, args := range [][]string{
		{"--grpc-addr=[::1]:0", "--http-addr=localhost:0"},
		{"--grpc-addr=127.0.0.2:0"},
		{"--grpc-addr=:0", "--http-addr=:0", "--insecure"},
	} {
		if _, err := parse(t, args...); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestLoopbackICE(t *testing.T) {
	for _, c := range []struct {
		mode, grpc, http string
		want             bool
	}{
		{"auto", "127.0.0.1:1", "127.0.0.1:2", true},
		{"auto", "[::1]:1", "localhost:2", true},
		{"auto", "127.0.0.1:1", ":2", false},
		{"auto", "192.0.2.1:1", "127.0.0.1:2", false},
		{"on", ":1", ":2", true},
		{"off", "127.0.0.1:1", "127.0.0.1:2", false},
	} {
		got := (&Config{ICELoopback: c.mode, GRPCAddr: c.grpc, HTTPAddr: c.http}).LoopbackICE()
		if got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestO7_DumpHidesSecretsAndCanBeReadBack(t *testing.T) {
	const secret = "s3cr3t-s3cr3t-s3cr3t"
	c, err := parse(t, "--auth-token="+secret, "--ice-announced-ips=192.0.2.1", "--log-level=debug")
	if err != nil {
		t.Fatal(err)
	}
	c.RedisURL = "redis://:" + secret + "@127.0.0.1"
	c.RedisPassword, c.RedisSentinelPassword, c.PodSecret = secret, secret, secret
	var dump bytes.Buffer
	if err := c.Write(&dump, nil); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(dump.String(), "s3cr3t") {
		t.Errorf("the secret is in\n%s", &dump)
	}
	for _, s := range Settings() {
		if !strings.Contains(dump.String(), "\n"+s.Name+": ") && !strings.HasPrefix(dump.String(), s.Name+": ") {
			t.Errorf("%s is not in\n%s", s.Name, &dump)
		}
	}
	if _, err := parse(t, "--config", write(t, "d.yaml", dump.String())); err == nil || !strings.Contains(err.Error(), "write the secret itself") {
		t.Errorf("a dump with hidden secrets is taken: %v", err)
	}
	text := strings.ReplaceAll(strings.ReplaceAll(dump.String(), "auth-token: (hidden)", "auth-token: "+secret), "redis-url: (hidden)", `redis-url: ""`)
	text = strings.ReplaceAll(strings.ReplaceAll(text, "password: (hidden)", `password: ""`), "pod-secret: (hidden)", `pod-secret: ""`)
	back, err := parse(t, "--config", write(t, "d.yaml", text))
	c.RedisURL, c.RedisPassword, c.RedisSentinelPassword, c.PodSecret = "", "", "", ""
	if err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("read back\n%#v, %v\nwant\n%#v", back, err, c)
	}
}

func TestSecretsHideFromEveryVerb(t *testing.T) {
	c := Config{AuthToken: "s3cr3t"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if out := fmt.Sprintf(verb, c); strings.Contains(out, "s3cr3t") {
			t.Errorf("%s shows %s", verb, out)
		}
	}
}

func TestEverySettingIsDocumented(t *testing.T) {
	for _, s := range Settings() {
		if s.Name == "" || s.Help == "" || s.Env != "PENSTOCK_"+strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_")) {
			t.Errorf("%+v: wants a name, help, and the variable that goes with the name", s)
		}
	}
}

// FuzzParseFile checks that nothing in a file makes the parser panic, and that what it takes are known settings.
func FuzzParseFile(f *testing.F) {
	for _, seed := range []string{"", "log-level: info", "a: b", "- x", "? a\n: b", "&a [*a]", "log-level: &x info\nlog-format: *x", "{log-level: info}", "\x00", "log-level: !!binary aGk="} {
		f.Add([]byte(seed))
	}
	known := environment()
	f.Fuzz(func(t *testing.T, b []byte) {
		values, err := parseFile("f", b)
		if err != nil && len(values) > 0 {
			t.Error("values beside an error")
		}
		for name := range values {
			if _, ok := known[name]; !ok {
				t.Errorf("took %q", name)
			}
		}
	})
}
