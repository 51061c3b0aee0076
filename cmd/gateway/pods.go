package main

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
)

// podAddress returns where other pods reach the gRPC API that listens already; empty without Redis, where there are none.
func podAddress(c *config.Config, l net.Listener) (string, error) {
	switch {
	case c.RedisURL == "":
		return "", nil
	case c.PodAddr != "":
		return plainAddress(c.PodAddr), nil
	}
	at := addrPortOf(l)
	if !at.Addr().IsUnspecified() {
		return at.String(), nil
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("--pod-addr: the addresses of this machine cannot be read: %w; set it", err)
	}
	own, ok := firstAddress(all)
	if !ok {
		return "", &config.Error{Setting: "pod-addr", Problem: "this machine has no address but loopback", Mend: "set it to where other pods reach this one"}
	}
	return netip.AddrPortFrom(own, at.Port()).String(), nil
}

// plainAddress takes the brackets off an address that needs none: who fills in an address of either family, as a pod's environment does, writes them always.
func plainAddress(hostPort string) string {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return hostPort
	}
	return net.JoinHostPort(host, port)
}

// firstAddress returns the first address that another machine can call; of IPv4 if there is one.
func firstAddress(all []net.Addr) (netip.Addr, bool) {
	var found netip.Addr
	for _, a := range all {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		ip := prefix.Addr().Unmap()
		switch {
		case !ip.IsGlobalUnicast():
		case ip.Is4():
			return ip, true
		case !found.IsValid():
			found = ip
		}
	}
	return found, found.IsValid()
}
