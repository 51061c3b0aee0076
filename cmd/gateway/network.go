package main

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
	"github.com/penstock-media/penstock/rtcpool"
)

// networkOf gives the settings of sockets and candidates to the pool.
func networkOf(c *config.Config) (rtcpool.NetworkConfig, error) {
	authorities, err := c.Authorities()
	if err != nil {
		return rtcpool.NetworkConfig{}, fmt.Errorf("load the authorities of TURN servers: %w", err)
	}
	return rtcpool.NetworkConfig{
		UDPMuxPort: c.UDPMux, UDPMuxPorts: c.UDPMuxPorts, TCPMuxPort: c.TCPMux, MaxTCPConnections: c.TCPMuxConnections,
		Interfaces: c.Interfaces, AllowNetworks: config.Prefixes(c.AllowNetworks), DenyNetworks: config.Prefixes(c.DenyNetworks),
		DisableIPv6: !c.IPv6, MuxReceiveBuffer: c.MuxReceiveBuffer, SocketReceiveBuffer: c.ReceiveBuffer,
		RefusePrivate: c.RefusePrivate, MDNS: c.MDNS, RootCAs: authorities,
	}, nil
}

// addrPortOf returns where a TCP listener listens.
func addrPortOf(l net.Listener) netip.AddrPort {
	at, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		return netip.AddrPort{}
	}
	return at
}
