package rtcpool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
)

// freePorts returns the first of n consecutive UDP and TCP ports that nothing uses on any address. They lie below those that
// the kernel gives out by itself, and tests of other packages take others, so that nobody takes them meanwhile.
func freePorts(t *testing.T, n int) uint16 {
	t.Helper()
	for range 1000 {
		if first := 16_000 + rand.IntN(4_990); allFree(first, n) {
			return uint16(first)
		}
	}
	t.Fatal("no free ports")
	return 0
}

func allFree(first, n int) bool {
	for port := first; port < first+n; port++ {
		u, err := net.ListenPacket("udp", ":"+strconv.Itoa(port))
		if err != nil {
			return false
		}
		_ = u.Close()
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

var candidatePort = regexp.MustCompile(`(?m)^a=candidate:\S+ 1 (\w+) \d+ (\S+) (\d+) typ (\w+)`)

// candidatesOf returns protocol, address and port of the candidates in an answer.
func candidatesOf(sdp string) (out []string) {
	for _, m := range candidatePort.FindAllStringSubmatch(sdp, -1) {
		out = append(out, m[1]+" "+m[2]+" "+m[3]+" "+m[4])
	}
	return out
}

// sfuOn makes the settings of an SFU that has candidates of those networks only.
func sfuOn(networks ...webrtc.NetworkType) func(*webrtc.API) {
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetNetworkTypes(networks)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	return webrtc.WithSettingEngine(settings)
}

// sfuAt makes the settings of an SFU with one socket, at an address. pion's own gathering leaves ::1 out.
func sfuAt(t *testing.T, address string) func(*webrtc.API) {
	t.Helper()
	conn, err := net.ListenPacket("udp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: conn})
	t.Cleanup(func() { _ = mux.Close() })
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetICEUDPMux(mux)
	return webrtc.WithSettingEngine(settings)
}

// manySessions opens 20 sessions, each with an SFU of its own, and waits for media on each.
func manySessions(t *testing.T, p *Pool, sfu func() func(*webrtc.API)) (answers []string) {
	t.Helper()
	for i := range 20 {
		s, r := open(t, p, fmt.Sprint(i))
		f := newTestSFU(t, sfu())
		f.add(opus, fmt.Sprint("mic", i), "alice")
		answers = append(answers, f.negotiate(s, 0).SDP)
		m := r.flowing(t, fmt.Sprint("mic", i))
		morePackets(t, m.Track, 10)
	}
	return answers
}

func TestS14_OneUDPPortCarriesTwentySessions(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{"IPv4": "127.0.0.1", "IPv6": "::1"} {
		t.Run(name, func(t *testing.T) {
			port := freePorts(t, 1)
			p := newTestPool(t, func(cfg *Config) {
				cfg.Network.UDPMuxPort = port
				cfg.Network.AllowNetworks = []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr(address), netip.MustParseAddr(address).BitLen())}
			})
			want := fmt.Sprintf("udp %s %d host", address, port)
			for _, answer := range manySessions(t, p, func() func(*webrtc.API) { return sfuAt(t, address) }) {
				if got := candidatesOf(answer); len(got) != 1 || got[0] != want {
					t.Errorf("candidates %q, want only %q", got, want)
				}
			}
			if got := p.Stats().Network.MuxSpilled; got != 0 {
				t.Errorf("%d peer connections have sockets of their own", got)
			}
		})
	}
}

func TestS14_OneTCPPortCarriesTwentySessions(t *testing.T) {
	t.Parallel()
	port := freePorts(t, 1)
	p := newTestPool(t, func(cfg *Config) { cfg.Network.TCPMuxPort = port })
	want := fmt.Sprintf("tcp 127.0.0.1 %d host", port)
	for _, answer := range manySessions(t, p, func() func(*webrtc.API) { return sfuOn(webrtc.NetworkTypeTCP4) }) {
		if got := strings.Join(candidatesOf(answer), "\n"); !strings.Contains(got, want) {
			t.Errorf("candidates:\n%s\nwant %q among them", got, want)
		}
	}
	if got := p.Stats().Network.TCPConnections; got < 20 {
		t.Errorf("%d TCP connections, want one for each of 20 sessions", got)
	}
}

// An SFU that has one port for all, too: two sessions over the same two ports could not be told apart.
func TestSharedPortsAreNotSharedWithTheSameRemote(t *testing.T) {
	port := freePorts(t, 2)
	p := newTestPool(t, func(cfg *Config) {
		cfg.Network.UDPMuxPort, cfg.Network.UDPMuxPorts = port, 2
		cfg.Network.AllowNetworks = prefixes("127.0.0.1/32")
	})
	sfu := sfuAt(t, "127.0.0.1")
	for i := range 4 {
		s, r := open(t, p, fmt.Sprint(i))
		f := newTestSFU(t, sfu)
		f.add(opus, fmt.Sprint("mic", i), "alice")
		answer := f.negotiate(s, 0).SDP
		_, at, _ := strings.Cut(candidatesOf(answer)[0], "127.0.0.1 ")
		if shared := at == fmt.Sprint(port, " host") || at == fmt.Sprint(port+1, " host"); shared != (i < 2) {
			t.Errorf("session %d: %q", i, candidatesOf(answer))
		}
		m := r.flowing(t, fmt.Sprint("mic", i))
		morePackets(t, m.Track, 10)
	}
	if got := p.Stats().Network.MuxSpilled; got != 2 {
		t.Errorf("%d peer connections have sockets of their own, want 2", got)
	}
	// A place becomes free with the session that had it.
	p.Session("0").Close()
	waitFor(t, "the place", func() bool { return p.Stats().PeerConnections == 3 })
	s, r := open(t, p, "again")
	f := newTestSFU(t, sfu)
	f.add(opus, "again", "alice")
	f.negotiate(s, 0)
	r.flowing(t, "again")
	if got := p.Stats().Network.MuxSpilled; got != 2 {
		t.Errorf("%d peer connections have sockets of their own, want 2 still", got)
	}
}

// A candidate that names the remote address of another session would take its packets away.
func TestSharedPortIsProtectedFromStolenAddresses(t *testing.T) {
	port := freePorts(t, 1)
	p := newTestPool(t, func(cfg *Config) { cfg.Network.UDPMuxPort = port })
	s, r := open(t, p, "victim")
	f := newTestSFU(t, sfuOn(webrtc.NetworkTypeUDP4))
	f.add(opus, "mic", "alice")
	offer := f.offer(nil)
	f.exchange(s, 0, offer)
	mic := r.flowing(t, "mic")
	_, stolen := withoutCandidates(offer)

	thief, _ := open(t, p, "thief")
	mustAnswer(t, thief, offertest.Of(offertest.Audio))
	for _, c := range stolen {
		c.Candidate, _, _ = strings.Cut(c.Candidate, " ufrag ")
		if got := give(t, thief, 1, c); got != CandidateIgnored {
			t.Errorf("%s: %v", c.Candidate, got)
		}
	}
	if got := p.Stats().Network.Refused.InUse; got != uint64(len(stolen)) || got == 0 {
		t.Errorf("%d refused, want %d", got, len(stolen))
	}
	morePackets(t, mic.Track, 50)
}

// A session that hears only of an SFU's address that another session holds, by right or to keep it away, is told to begin
// a new generation, and that gets sockets of its own.
func TestSharedPortGivesWayToWhoeverHoldsAnAddress(t *testing.T) {
	port := freePorts(t, 1)
	p := newTestPool(t, func(cfg *Config) {
		cfg.Network.UDPMuxPort = port
		cfg.Network.AllowNetworks = prefixes("127.0.0.1/32")
	})
	sfu := sfuAt(t, "127.0.0.1")
	f := newTestSFU(t, sfu)
	f.add(opus, "mic", "alice")
	holder, r := open(t, p, "holder")
	f.negotiate(holder, 0)
	mic := r.flowing(t, "mic")

	s, late := open(t, p, "late")
	trickled := func(generation uint64, want CandidateResult) {
		f := newTestSFU(t, sfu)
		f.add(opus, "second", "bob")
		bare, candidates := withoutCandidates(f.offer(nil))
		f.exchange(s, generation, bare)
		for _, c := range candidates {
			if got := give(t, s, generation, c); got != want {
				t.Errorf("generation %d: %s: %v", generation, c.Candidate, got)
			}
		}
	}
	trickled(1, CandidateIgnored)
	late.until(t, "that a new generation is needed", func() bool { return len(late.restarts) > 0 })
	if got := late.told().restarts; len(got) != 1 || got[0].ICE || got[0].MinGeneration != 2 {
		t.Errorf("%+v", got)
	}
	trickled(2, CandidateAdded)
	late.flowing(t, "second")
	morePackets(t, mic.Track, 50)
}

func TestSharedPortsThatAreTaken(t *testing.T) {
	decoders := newTestPool(t, nil).cfg.Decoders
	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct {
		network NetworkConfig
		says    []string
	}{
		{NetworkConfig{UDPMuxPort: uint16(u.LocalAddr().(*net.UDPAddr).Port)}, []string{"UDPMuxPort", "address already in use", "choose a port"}},
		{NetworkConfig{TCPMuxPort: uint16(l.Addr().(*net.TCPAddr).Port)}, []string{"TCPMuxPort", "address already in use", "choose a port"}},
		{NetworkConfig{UDPMuxPort: 65535, UDPMuxPorts: 2}, []string{"UDPMuxPorts", "lower"}},
		{NetworkConfig{UDPMuxPort: 1, UDPMuxPorts: 65}, []string{"UDPMuxPorts", "use 1 to 64"}},
		{NetworkConfig{UDPMuxPorts: 2}, []string{"UDPMuxPorts", "set the first port"}},
		{NetworkConfig{MaxTCPConnections: -1}, []string{"MaxTCPConnections", "use 0"}},
		{NetworkConfig{MuxReceiveBuffer: -1}, []string{"MuxReceiveBuffer", "use bytes"}},
		{NetworkConfig{SocketReceiveBuffer: 2 << 30}, []string{"SocketReceiveBuffer", "use bytes"}},
		{NetworkConfig{Interfaces: []string{"[eth"}}, []string{"Interfaces", "eth*"}},
		{NetworkConfig{AllowNetworks: []netip.Prefix{{}}}, []string{"AllowNetworks", "10.0.0.0/8"}},
		{NetworkConfig{DenyNetworks: []netip.Prefix{{}}}, []string{"DenyNetworks", "10.0.0.0/8"}},
		{NetworkConfig{UDPMuxPort: freePorts(t, 1), AllowNetworks: prefixes("203.0.113.0/24")}, []string{"UDPMuxPort", "no local address", "widen"}},
		{NetworkConfig{TCPMuxPort: freePorts(t, 1), Interfaces: []string{"none"}}, []string{"TCPMuxPort", "no local address", "widen"}},
	} {
		p, err := New(Config{Decoders: decoders, Tracer: noopTracer(), Loopback: true, Network: c.network})
		if !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v, %v", c.network, p, err)
			continue
		}
		for _, words := range c.says {
			if !strings.Contains(err.Error(), words) {
				t.Errorf("%q does not say %q", err, words)
			}
		}
	}
}
