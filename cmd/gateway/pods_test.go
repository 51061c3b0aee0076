package main

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
)

// TestPodAddress: other pods are told what is configured, or where gRPC listens, or the machine's first address where it listens on all.
func TestPodAddress(t *testing.T) {
	listen := func(addr string) net.Listener {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	l := listen("127.0.0.1:0")
	for _, c := range []struct {
		cfg  config.Config
		want string
	}{
		{config.Config{}, ""},
		{config.Config{RedisURL: "redis://a"}, l.Addr().String()},
		{config.Config{RedisURL: "redis://a", PodAddr: "pod-1:7"}, "pod-1:7"},
		{config.Config{RedisURL: "redis://a", PodAddr: "[10.1.2.3]:7"}, "10.1.2.3:7"},
		{config.Config{RedisURL: "redis://a", PodAddr: "[2001:db8::1]:7"}, "[2001:db8::1]:7"},
	} {
		if got, err := podAddress(&c.cfg, l); err != nil || got != c.want {
			t.Errorf("%+v: %q, %v; want %q", c.cfg, got, err, c.want)
		}
	}

	every := unspecified{l}
	got, err := podAddress(&config.Config{RedisURL: "redis://a"}, every)
	var fault *config.Error
	if err != nil && !errors.As(err, &fault) {
		t.Fatal(err)
	}
	if at, parsed := netip.ParseAddrPort(got); err == nil && (parsed != nil || !at.Addr().IsGlobalUnicast() || at.Port() != 7) {
		t.Errorf("a gateway that listens on all addresses is at %q", got)
	}
}

// unspecified is a listener on all addresses, as it tells.
type unspecified struct{ net.Listener }

// Addr implements net.Listener.
func (unspecified) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv6unspecified, Port: 7} }

// TestFirstAddress: loopback and link-local addresses are no address for other machines; IPv4 goes before IPv6.
func TestFirstAddress(t *testing.T) {
	for _, c := range []struct {
		have []string
		want string
	}{
		{[]string{"127.0.0.1/8", "::1/128", "fe80::1/64", "169.254.0.1/16"}, "invalid IP"},
		{[]string{"127.0.0.1/8", "10.1.2.3/24", "10.1.2.4/24"}, "10.1.2.3"},
		{[]string{"fd00::1/64", "10.1.2.3/24"}, "10.1.2.3"},
		{[]string{"::1/128", "fd00::1/64", "fd00::2/64"}, "fd00::1"},
	} {
		var all []net.Addr
		for _, a := range c.have {
			ip, network, err := net.ParseCIDR(a)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, &net.IPNet{IP: ip, Mask: network.Mask})
		}
		if got, ok := firstAddress(all); got.String() != c.want || ok != got.IsValid() {
			t.Errorf("%v: %v", c.have, got)
		}
	}
}
