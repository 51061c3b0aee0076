package config

import "testing"

func TestO7_ICESettingsAreCheckedToo(t *testing.T) {
	for _, c := range []struct {
		args          []string
		setting, mend string
	}{
		{[]string{"--ice-announced-ips=example.org"}, "ice-announced-ips", "203.0.113.7"},
		{[]string{"--ice-announced-ips=fe80::1%eth0"}, "ice-announced-ips", "203.0.113.7"},
		{[]string{"--ice-announced-ips=0.0.0.0"}, "ice-announced-ips", "203.0.113.7"},
		{[]string{"--ice-udp-port-min=5"}, "ice-udp-port-max", "set both"},
		{[]string{"--ice-udp-port-max=5"}, "ice-udp-port-min", "set both or neither"},
		{[]string{"--ice-loopback=maybe"}, "ice-loopback", "use one of these"},
		{[]string{"--ice-udp-mux-ports=2"}, "ice-udp-mux-ports", "set the first port too"},
		{[]string{"--ice-udp-mux=65535", "--ice-udp-mux-ports=2"}, "ice-udp-mux-ports", "choose a lower"},
		{[]string{"--ice-udp-mux=7000", "--ice-udp-mux-ports=65"}, "ice-udp-mux-ports", "use 1 to 64"},
		{[]string{"--ice-udp-mux=7000", "--ice-udp-port-min=6000", "--ice-udp-port-max=8000"}, "ice-udp-mux", "outside"},
		{[]string{"--ice-udp-mux=5999", "--ice-udp-mux-ports=2", "--ice-udp-port-min=6000", "--ice-udp-port-max=8000"}, "ice-udp-mux", "outside"},
		{[]string{"--ice-tcp-mux=50051"}, "ice-tcp-mux", "choose another one"},
		{[]string{"--ice-tcp-mux-connections=0"}, "ice-tcp-mux-connections", "use 1 to"},
		{[]string{"--ice-interfaces=[eth"}, "ice-interfaces", "eth*"},
		{[]string{"--ice-allow-networks=10.0.0.0"}, "ice-allow-networks", "10.0.0.0/8"},
		{[]string{"--ice-deny-networks=x/8"}, "ice-deny-networks", "10.0.0.0/8"},
		{[]string{"--ice-udp-mux-receive-buffer=1"}, "ice-udp-mux-receive-buffer", "use 4096 to"},
		{[]string{"--ice-receive-buffer=2000000000"}, "ice-receive-buffer", "use 4096 to"},
		{[]string{"--ice-turn-ca=/does/not/exist"}, "ice-turn-ca", "PEM certificates"},
		{[]string{"--ice-turn-ca=" + write(t, "none.pem", "nothing")}, "ice-turn-ca", "PEM certificates"},
	} {
		refused(t, c.args, c.setting, c.mend)
	}
}
