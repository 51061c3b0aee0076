package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
	"github.com/penstock-media/penstock/rtcpool"
)

// silent is an observer that needs nothing.
type silent struct{}

func (silent) MediaChanged(rtcpool.MediaDiff)              {}
func (silent) StateChanged(uint64, rtcpool.State)          {}
func (silent) CandidateGathered(uint64, rtcpool.Candidate) {}
func (silent) RestartNeeded(rtcpool.Restart)               {}
func (silent) SessionEnded(rtcpool.EndReason)              {}

func TestOwnPortsAreNoCandidates(t *testing.T) {
	cfg := config.Default()
	cfg.GRPCAddr, cfg.HTTPAddr, cfg.DrainGrace = "127.0.0.1:0", "127.0.0.1:0", 0
	g, err := newGateway(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	s, err := g.pool.Open(rtcpool.SessionConfig{ID: "own", Observer: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{g.GRPCAddr(), g.HTTPAddr()} {
		a := netip.MustParseAddrPort(at)
		c := rtcpool.Candidate{Candidate: fmt.Sprintf("candidate:1 1 udp 1 %s %d typ host", a.Addr(), a.Port())}
		if got, err := s.AddCandidate(t.Context(), 1, c); err != nil || got != rtcpool.CandidateIgnored {
			t.Errorf("%s: %v, %v", at, got, err)
		}
	}
	if got := g.pool.Stats().Network.Refused.Own; got != 2 {
		t.Errorf("%d refused, want 2", got)
	}
}

func TestServeTakesSharedPortsAndSaysWhenTheyAreTaken(t *testing.T) {
	port := freePort(t)
	args := []string{"--ice-udp-mux=" + port, "--ice-tcp-mux=" + port, "--ice-interfaces=lo*"}
	s := startServe(t, nil, args...)
	for _, words := range []string{"shared UDP port", "127.0.0.1:" + port, "receive_buffer=", "shared TCP port"} {
		s.waitLog(t, words)
	}
	out, err := command(t, nil, append([]string{"serve", "--grpc-addr=127.0.0.1:0", "--http-addr=127.0.0.1:0"}, args...)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "UDPMuxPort") || !strings.Contains(string(out), "choose a port that nothing else uses") {
		t.Errorf("a second one on the same port: %v\n%s", err, out)
	}
}

// freePort returns a port that nobody uses on UDP or TCP. It is below those that the kernel gives to whoever asks for any, so that
// nobody takes it before the gateway does.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(31_000 + rand.IntN(1_700))
		u, err := net.ListenPacket("udp", ":"+port)
		if err != nil {
			continue
		}
		_ = u.Close()
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			continue
		}
		_ = l.Close()
		return port
	}
	t.Fatal("no port is free")
	return ""
}

func TestEveryNetworkSettingReachesThePool(t *testing.T) {
	authorities, _ := certificate(t)
	n, err := networkOf(&config.Config{
		UDPMux: 1, UDPMuxPorts: 2, TCPMux: 3, TCPMuxConnections: 4, Interfaces: []string{"eth0"}, AllowNetworks: []string{"10.1.0.0/8"},
		DenyNetworks: []string{"fd00::/8"}, RefusePrivate: true, MDNS: true, MuxReceiveBuffer: 5, ReceiveBuffer: 6, TURNAuthorities: authorities,
	})
	if err != nil || n.RootCAs == nil {
		t.Fatal(n, err)
	}
	n.RootCAs = nil
	got := fmt.Sprintf("%+v", n)
	want := fmt.Sprintf("%+v", rtcpool.NetworkConfig{
		UDPMuxPort: 1, UDPMuxPorts: 2, TCPMuxPort: 3, MaxTCPConnections: 4, Interfaces: []string{"eth0"},
		AllowNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, DenyNetworks: []netip.Prefix{netip.MustParsePrefix("fd00::/8")},
		DisableIPv6: true, MuxReceiveBuffer: 5, SocketReceiveBuffer: 6, RefusePrivate: true, MDNS: true,
	})
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
