//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// composeSecret is the variable that the compose file wants, and what the tests give.
const composeSecret = "PENSTOCK_POD_SECRET=0123456789abcdef0123456789abcdef"

// composeProject is what the tests look at of a compose file, as Compose itself resolves it.
type composeProject struct {
	Services map[string]composeService `json:"services"`
}

// composeService is one service of it.
type composeService struct {
	Environment     map[string]string `json:"environment"`
	StopGracePeriod string            `json:"stop_grace_period"`
	ReadOnly        bool              `json:"read_only"`
	Healthcheck     struct {
		Test []string `json:"test"`
	} `json:"healthcheck"`
	Ports []struct {
		HostIP    string `json:"host_ip"`
		Target    int    `json:"target"`
		Published string `json:"published"`
		Protocol  string `json:"protocol"`
	} `json:"ports"`
	Volumes []struct {
		Source string `json:"source"`
		Target string `json:"target"`
	} `json:"volumes"`
}

// compose resolves a compose file with variables of the environment.
func compose(t *testing.T, file string, env ...string) (composeProject, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t, "COMPOSE", "compose"), file)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		return composeProject{}, fmt.Errorf("%w: %s", err, log.String())
	}
	var p composeProject
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	return p, nil
}

// trial is the compose file of the tree.
func trial(t *testing.T, env ...string) composeProject {
	t.Helper()
	p, err := compose(t, "../compose.yaml", append(env, composeSecret)...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestO6_ComposeFileFollowsItsSpecification(t *testing.T) {
	t.Parallel()
	p := trial(t)
	for _, name := range []string{"gateway-1", "gateway-2", "redis", "jaeger", "prometheus", "grafana"} {
		if _, ok := p.Services[name]; !ok {
			t.Errorf("there is no service %s", name)
		}
	}
	for name, s := range p.Services {
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes port %d to %q", name, port.Target, port.HostIP)
			}
		}
		for _, v := range s.Volumes {
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s mounts what is not there: %v", name, err)
			}
		}
	}
	if _, err := compose(t, "../compose.yaml"); err == nil || !strings.Contains(err.Error(), "PENSTOCK_POD_SECRET is missing") || !strings.Contains(err.Error(), "openssl rand") {
		t.Errorf("without a secret: %v", err)
	}
	text, err := os.ReadFile("../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(t.TempDir(), "compose.yaml")
	for good, bad := range map[string]string{"stop_grace_period:": "stop_grace:", "condition: service_healthy": "condition: healthy", "cap_drop:\n    - ALL": "cap_drop: ALL"} {
		if err := os.WriteFile(wrong, []byte(strings.Replace(string(text), good, bad, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := compose(t, wrong, composeSecret); err == nil {
			t.Errorf("with %q in place of %q nothing is refused", bad, good)
		}
	}
}

// TestO6_ComposeSettingsAreTheGateways asks the binary what it makes of the environment of the compose file.
func TestO6_ComposeSettingsAreTheGateways(t *testing.T) {
	t.Parallel()
	binary := program(t, "GATEWAY", "gateway")
	help, err := run(t.Context(), binary, "serve", "--help")
	if err != nil {
		t.Fatal(err)
	}
	udp := make(map[int]string)
	for name, s := range trial(t, "PENSTOCK_HOST_IP=192.0.2.7").Services {
		if !strings.HasPrefix(name, "gateway-") {
			continue
		}
		if !s.ReadOnly || !slices.Equal(s.Healthcheck.Test, []string{"CMD", gatewayInImage, "healthcheck"}) {
			t.Errorf("%s: read-only %t, probed by %q", name, s.ReadOnly, s.Healthcheck.Test)
		}
		var env []string
		for key, value := range s.Environment {
			env = append(env, key+"="+value)
			if !strings.Contains(help, "$"+key+")") {
				t.Errorf("%s: the gateway has no setting %s", name, key)
			}
		}
		settings := settingsOf(t, binary, env)
		port, ok := settings["ice-udp-mux"].(int)
		if _, taken := udp[port]; !ok || taken {
			t.Errorf("%s: media at port %v, which must be its own: %v", name, settings["ice-udp-mux"], udp)
		}
		udp[port] = name
		reached := false
		for _, p := range s.Ports {
			// The port that is announced must be the one that is published, under the address that is announced.
			reached = reached || p.Protocol == "udp" && p.Target == port && p.Published == s.Environment["PENSTOCK_ICE_UDP_MUX"] && p.HostIP == "192.0.2.7"
		}
		if announced, _ := settings["ice-announced-ips"].([]any); !reached || len(announced) != 1 || announced[0] != "192.0.2.7" {
			t.Errorf("%s: media cannot come in: announced %v, published %+v", name, settings["ice-announced-ips"], s.Ports)
		}
		if host, _, err := net.SplitHostPort(settings["pod-addr"].(string)); err != nil || host != name {
			t.Errorf("%s: others reach it at %v", name, settings["pod-addr"])
		}
		grace, err := time.ParseDuration(s.StopGracePeriod)
		var graces time.Duration
		for _, key := range []string{"endpoint-grace", "drain-grace", "stop-timeout"} {
			d, err := time.ParseDuration(settings[key].(string))
			if err != nil {
				t.Error(err)
			}
			graces += d
		}
		if err != nil || grace <= graces {
			t.Errorf("%s is killed after %s, %v; stopping may take %s", name, s.StopGracePeriod, err, graces)
		}
	}
	if len(udp) != 2 {
		t.Errorf("there are %d gateways", len(udp))
	}
}

// settingsOf returns the configuration that the gateway has with an environment.
func settingsOf(t *testing.T, binary string, env []string) map[string]any {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, "config")
	cmd.Env = env
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the gateway refuses the settings: %v\n%s", err, &log)
	}
	if strings.Contains(string(out)+log.String(), "0123456789abcdef") {
		t.Errorf("the secret is printed:\n%s", out)
	}
	settings := make(map[string]any)
	if err := yaml.Unmarshal(out, &settings); err != nil {
		t.Fatal(err)
	}
	return settings
}

// TestO6_ComposeNeighboursFindEachOther checks what the files below deploy/compose name: services, ports and paths of the compose file.
func TestO6_ComposeNeighboursFindEachOther(t *testing.T) {
	t.Parallel()
	p := trial(t)
	if out, err := run(t.Context(), program(t, "PROMTOOL", "promtool"), "check", "config", "--syntax-only", "../deploy/compose/prometheus.yml"); err != nil {
		t.Error(out, err)
	}
	var prometheus struct {
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			StaticConfigs []struct {
				Targets []string `yaml:"targets"`
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	readYAML(t, "../deploy/compose/prometheus.yml", &prometheus)
	for _, target := range prometheus.ScrapeConfigs[0].StaticConfigs[0].Targets {
		host, port, err := net.SplitHostPort(target)
		s, ok := p.Services[host]
		if err != nil || !ok || !strings.HasSuffix(s.Environment["PENSTOCK_HTTP_ADDR"], ":"+port) {
			t.Errorf("nothing to scrape at %s", target)
		}
	}
	if got := p.behind(t, "prometheus", filepath.Dir(prometheus.RuleFiles[0])); len(got) == 0 {
		t.Error("Prometheus has no rules")
	}
	var sources struct {
		Datasources []struct{ UID, URL string } `yaml:"datasources"`
	}
	readYAML(t, "../deploy/compose/grafana/datasources/penstock.yaml", &sources)
	for _, s := range sources.Datasources {
		u, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		target := p.Services[u.Hostname()].Ports
		if len(target) != 1 || !strings.HasSuffix(u.Host, ":"+target[0].Published) {
			t.Errorf("Grafana finds no %s at %s", s.UID, s.URL)
		}
	}
	var boards struct {
		Providers []struct {
			Options struct{ Path string } `yaml:"options"`
		} `yaml:"providers"`
	}
	readYAML(t, "../deploy/compose/grafana/dashboards/penstock.yaml", &boards)
	found := p.behind(t, "grafana", boards.Providers[0].Options.Path)
	if !slices.Contains(found, "penstock.json") {
		t.Errorf("Grafana has the dashboards %v", found)
	}
	home := p.Services["grafana"].Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if filepath.Dir(home) != boards.Providers[0].Options.Path || !slices.Contains(found, filepath.Base(home)) {
		t.Errorf("Grafana shows %s first, which is not there", home)
	}
	board, err := os.ReadFile("../helm/dashboards/penstock.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"uid": "([a-z]+)"`).FindAllStringSubmatch(string(board), -1) {
		if m[1] != "penstock" && !slices.ContainsFunc(sources.Datasources, func(s struct{ UID, URL string }) bool { return s.UID == m[1] }) {
			t.Errorf("the dashboard asks for %s, which Grafana is not told of", m[1])
		}
	}
}

// behind returns the names of the files that a service finds in a directory.
func (p composeProject) behind(t *testing.T, service, dir string) []string {
	t.Helper()
	for _, v := range p.Services[service].Volumes {
		if v.Target == dir {
			return entries(t, v.Source)
		}
	}
	t.Errorf("nothing is mounted at %s of %s", dir, service)
	return nil
}

// readYAML reads a file.
func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
