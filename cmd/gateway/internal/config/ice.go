package config

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path"
	"strconv"
)

func (c *Config) validateICE() error {
	for _, ip := range c.AnnouncedIPs {
		if a, err := netip.ParseAddr(ip); err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
			return &Error{"ice-announced-ips", fmt.Sprintf("%q is not an IP address that others can reach", ip), "list addresses like 203.0.113.7, separated by commas"}
		}
	}
	switch {
	case c.UDPPortMin > c.UDPPortMax:
		return &Error{"ice-udp-port-max", fmt.Sprintf("%d is below --ice-udp-port-min %d", c.UDPPortMax, c.UDPPortMin), "set both, the higher port here, or neither"}
	case c.UDPPortMin == 0 && c.UDPPortMax != 0:
		return &Error{"ice-udp-port-min", "is 0 while --ice-udp-port-max is set", "set both or neither"}
	}
	return oneOf("ice-loopback", c.ICELoopback, "auto", "on", "off")
}

// validateShared checks the ports that all sessions share.
func (c *Config) validateShared() error {
	switch last := int(c.UDPMux) + c.UDPMuxPorts - 1; {
	case c.UDPMux == 0 && c.UDPMuxPorts > 1:
		return &Error{"ice-udp-mux-ports", fmt.Sprintf("is %d while --ice-udp-mux is 0", c.UDPMuxPorts), "set the first port too"}
	case last > 65535:
		return &Error{"ice-udp-mux-ports", fmt.Sprintf("%d ports from %d on are more than there are", c.UDPMuxPorts, c.UDPMux), "choose a lower --ice-udp-mux"}
	case c.UDPMux != 0 && c.UDPPortMin != 0 && int(c.UDPPortMin) <= last && c.UDPMux <= c.UDPPortMax:
		return &Error{"ice-udp-mux", fmt.Sprintf("%d is within --ice-udp-port-min and --ice-udp-port-max", c.UDPMux), "choose a port outside: some sessions take ports of their own even so"}
	}
	for _, l := range c.listeners() {
		if _, port, _ := net.SplitHostPort(l.addr); c.TCPMux != 0 && port == strconv.Itoa(int(c.TCPMux)) {
			return &Error{"ice-tcp-mux", fmt.Sprintf("%d is the port of --%s", c.TCPMux, l.setting), "choose another one"}
		}
	}
	return nil
}

// validateFilters checks which local addresses are used for media.
func (c *Config) validateFilters() error {
	for _, pattern := range c.Interfaces {
		if _, err := path.Match(pattern, "eth0"); err != nil {
			return &Error{"ice-interfaces", fmt.Sprintf("%q is not a name or pattern", pattern), "write one like eth0 or eth*"}
		}
	}
	for _, l := range []struct {
		setting string
		values  []string
	}{{"ice-allow-networks", c.AllowNetworks}, {"ice-deny-networks", c.DenyNetworks}} {
		for _, text := range l.values {
			if _, err := netip.ParsePrefix(text); err != nil {
				return &Error{l.setting, fmt.Sprintf("%q is not a CIDR prefix", text), "write ones like 10.0.0.0/8 or 2001:db8::/32, separated by commas"}
			}
		}
	}
	return nil
}

func (c *Config) validateAuthorities() error {
	if _, err := c.Authorities(); err != nil {
		return &Error{"ice-turn-ca", err.Error(), "name a file with one or more PEM certificates that this user may read"}
	}
	return nil
}

// Authorities returns those that TURN servers are verified by; nil is the system's.
func (c *Config) Authorities() (*x509.CertPool, error) {
	if c.TURNAuthorities == "" {
		return nil, nil
	}
	b, err := os.ReadFile(c.TURNAuthorities)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%q has no certificate", c.TURNAuthorities)
	}
	return pool, nil
}

// Prefixes returns networks that Check has let pass.
func Prefixes(texts []string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}

// LoopbackICE tells whether loopback candidates are gathered.
func (c *Config) LoopbackICE() bool {
	switch c.ICELoopback {
	case "on":
		return true
	case "off":
		return false
	default:
		return isLoopback(c.GRPCAddr) && isLoopback(c.HTTPAddr)
	}
}
