package rtcpool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/transport/v4/stdnet"
	"github.com/pion/webrtc/v4"
)

// interfacesAge is how long the list of interfaces is used before it is read again.
const interfacesAge = 10 * time.Second

// network is what all peer connections share: the shared ports, the judgement of remote addresses, the certificate. Its
// methods are safe for concurrent use.
type network struct {
	cfg    *Config
	log    *slog.Logger
	logs   *pionLogs
	policy *policy
	certs  certificates
	lookUp *net.Resolver
	names  *names // nil unless mDNS names are resolved
	ports  []*sharedPort
	tcp    *tcpMux // nil is none

	closed              atomic.Bool
	overflow            *atomic.Uint64
	tcpOpen             atomic.Int64
	tcpRefused, spilled atomic.Uint64
	relayRefused        atomic.Uint64
	refused             refusalCounters

	mu         sync.Mutex
	interfaces *stdnet.Net
	readAt     time.Time
}

// newNetwork opens what is shared. close must be called. Errors: ErrConfig.
func newNetwork(cfg *Config) (*network, error) {
	w := &network{cfg: cfg, log: cfg.Logger, logs: &pionLogs{log: cfg.Logger}, overflow: &atomic.Uint64{}}
	w.lookUp = promptResolver(cfg.Network.Resolver)
	w.policy = newPolicy(cfg.Loopback, cfg.Network.RefusePrivate, w.machineAddrs)
	if err := w.openShared(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	if _, err := w.settings(w.newPeerNet(context.Background(), nil)); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *network) openShared() error {
	local, err := w.localAddrs()
	if err != nil {
		return fmt.Errorf("reading the network interfaces: %w", err)
	}
	if first := w.cfg.Network.UDPMuxPort; first != 0 {
		for i := range w.cfg.Network.UDPMuxPorts {
			p, err := w.openSharedPort(first+uint16(i), local)
			if err != nil {
				return err
			}
			w.ports = append(w.ports, p)
		}
	}
	if port := w.cfg.Network.TCPMuxPort; port != 0 {
		if w.tcp, err = w.openTCPMux(port, local); err != nil {
			return err
		}
	}
	if w.cfg.Network.MDNS {
		if w.names, err = w.openNames(); err != nil {
			return err
		}
	}
	return nil
}

// close closes what is shared. It is idempotent; no peer connection should be open.
func (w *network) close() error {
	if !w.closed.CompareAndSwap(false, true) {
		return nil
	}
	var errs []error
	for _, p := range w.ports {
		errs = append(errs, p.mux.Close())
	}
	for _, c := range []io.Closer{closerOf(w.tcp), closerOf(w.names)} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// closerOf returns nil for a nil pointer.
func closerOf[T any, P interface {
	*T
	io.Closer
}](p P) io.Closer {
	if p == nil {
		return nil
	}
	return p
}

// currentInterfaces returns the interfaces of this machine, read within interfacesAge.
func (w *network) currentInterfaces() (*stdnet.Net, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.interfaces != nil && time.Since(w.readAt) < interfacesAge {
		return w.interfaces, nil
	}
	fresh, err := stdnet.NewNet()
	if err != nil {
		return nil, err
	}
	w.interfaces, w.readAt = fresh, time.Now()
	return fresh, nil
}

// machineAddrs returns every address of this machine.
func (w *network) machineAddrs() []netip.Addr {
	var out []netip.Addr
	_ = w.eachAddr(func(_ net.Interface, ip netip.Addr) { out = append(out, ip) })
	return out
}

// localAddrs returns the addresses on which shared ports are opened.
func (w *network) localAddrs() ([]netip.Addr, error) {
	var out []netip.Addr
	err := w.eachAddr(func(i net.Interface, ip netip.Addr) {
		switch {
		case i.Flags&net.FlagUp == 0, i.Flags&net.FlagLoopback != 0 && !w.cfg.Loopback, ip.IsLoopback() && !w.cfg.Loopback:
		case ip.IsLinkLocalUnicast(), slices.Contains(out, ip):
		case !w.cfg.Network.takesInterface(i.Name), !w.cfg.Network.takesAddress(ip):
		default:
			out = append(out, ip)
		}
	})
	return out, err
}

func (w *network) eachAddr(f func(net.Interface, netip.Addr)) error {
	all, err := w.currentInterfaces()
	if err != nil {
		return err
	}
	list, err := all.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range list {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				f(i.Interface, p.Addr().Unmap())
			}
		}
	}
	return nil
}

// newPeerNet makes the network of one peer connection. refreshFailed is called, on any goroutine, when a TURN server
// refuses to refresh; nil is nothing. leave must be called.
func (w *network) newPeerNet(ctx context.Context, refreshFailed func(code int)) *peerNet {
	n := &peerNet{network: w, refreshFailed: refreshFailed, open: make(map[io.Closer]*turnWatch)}
	n.ctx, n.cancel = context.WithCancel(ctx)
	if all, err := w.currentInterfaces(); err == nil {
		n.Net = all
	} else {
		w.log.Warn("reading the network interfaces", "error", err)
		n.Net = &stdnet.Net{} // none: no host candidates
	}
	return n
}

// join lets a peer connection use the shared port with the fewest users of which none talks to the same remotes. Without
// any it has sockets of its own.
func (w *network) join(n *peerNet, remotes []netip.AddrPort) {
	ports := slices.Clone(w.ports)
	slices.SortStableFunc(ports, func(a, b *sharedPort) int { return a.size() - b.size() })
	for _, p := range ports {
		if p.join(n, remotes) {
			n.shared = p
			return
		}
	}
	if len(ports) > 0 {
		w.spilled.Add(1)
		w.log.Warn("every shared UDP port has a session that talks to the same remote address; this one gets sockets of its own")
	}
}

// leave ends a peer connection's part in the network.
func (w *network) leave(n *peerNet) {
	n.abort()
	if n.shared != nil {
		n.shared.leave(n)
	}
}

// settings returns pion's settings for one peer connection.
func (w *network) settings(n *peerNet) (webrtc.SettingEngine, error) {
	settings := webrtc.SettingEngine{LoggerFactory: w.logs}
	settings.SetReceiveMTU(receiveMTU)
	settings.SetIncludeLoopbackCandidate(w.cfg.Loopback)
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled) // names are resolved by the pool
	// The reader must see the very first packet: pion would give up a track whose first payload type it does not know.
	settings.SetFireOnTrackBeforeFirstRTP(true)
	settings.SetNet(n)
	settings.SetICEProxyDialer(n)
	w.setConsent(&settings)
	w.setFilters(&settings)
	w.setTransports(&settings, n)
	if w.cfg.UDPPortMin != 0 || w.cfg.UDPPortMax != 0 {
		if err := settings.SetEphemeralUDPPortRange(w.cfg.UDPPortMin, w.cfg.UDPPortMax); err != nil {
			return settings, fmt.Errorf("%w: UDPPortMin %d, UDPPortMax %d: %w", ErrConfig, w.cfg.UDPPortMin, w.cfg.UDPPortMax, err)
		}
	}
	return settings, w.setAnnounced(&settings)
}

// setConsent says how soon the loss of the other side is noticed. Whatever comes from it counts as a sign of life, so that only
// a silent connection needs the checks: four within the time after which it is disconnected, of which any may be lost.
func (w *network) setConsent(settings *webrtc.SettingEngine) {
	disconnected := w.cfg.ConsentTimeout / 3
	settings.SetICETimeouts(disconnected, w.cfg.ConsentTimeout-disconnected, disconnected/4)
}

// setFilters narrows down local and remote addresses.
func (w *network) setFilters(settings *webrtc.SettingEngine) {
	if w.cfg.Network.filters() {
		settings.SetInterfaceFilter(w.cfg.Network.takesInterface)
		settings.SetIPFilter(func(ip net.IP) bool {
			addr, ok := netip.AddrFromSlice(ip)
			return ok && w.cfg.Network.takesAddress(addr)
		})
	}
	// What is signalled was judged before, with its port: this meets peer-reflexive candidates.
	settings.SetRemoteIPFilter(func(ip net.IP) bool {
		addr, ok := netip.AddrFromSlice(ip)
		return ok && w.count(w.policy.judge(addr, 0)) == RefusedNone
	})
}

// setTransports says which kinds of candidates are gathered, and on which sockets.
func (w *network) setTransports(settings *webrtc.SettingEngine, n *peerNet) {
	types := []webrtc.NetworkType{webrtc.NetworkTypeUDP4}
	if !w.cfg.Network.DisableIPv6 {
		types = append(types, webrtc.NetworkTypeUDP6)
	}
	if w.tcp != nil {
		settings.SetICETCPMux(w.tcp)
		types = append(types, webrtc.NetworkTypeTCP4)
		if !w.cfg.Network.DisableIPv6 {
			types = append(types, webrtc.NetworkTypeTCP6)
		}
	}
	settings.DisableActiveTCP(true)
	settings.SetNetworkTypes(types)
	if n.shared != nil {
		settings.SetICEUDPMux(n.shared.mux)
	}
}

func (w *network) setAnnounced(settings *webrtc.SettingEngine) error {
	for _, text := range w.cfg.AnnouncedIPs {
		if ip, err := netip.ParseAddr(text); err != nil || ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() {
			return fmt.Errorf("%w: AnnouncedIPs: %q is not an address that others can reach", ErrConfig, text)
		}
	}
	if len(w.cfg.AnnouncedIPs) == 0 {
		return nil
	}
	rule := webrtc.ICEAddressRewriteRule{External: w.cfg.AnnouncedIPs, AsCandidateType: webrtc.ICECandidateTypeHost}
	if err := settings.SetICEAddressRewriteRules(rule); err != nil {
		return fmt.Errorf("%w: AnnouncedIPs: %w", ErrConfig, err)
	}
	return nil
}

// count counts a refusal and returns it.
func (w *network) count(r Refusal) Refusal {
	if r != RefusedNone {
		w.refused[r].Add(1)
	}
	return r
}

func (w *network) read() NetworkStats {
	return NetworkStats{
		Refused: w.refused.read(), SocketOverflows: w.overflow.Load(), MuxSpilled: w.spilled.Load(),
		TCPConnections: int(w.tcpOpen.Load()), TCPRefused: w.tcpRefused.Load(), RelayRefreshesFailed: w.relayRefused.Load(),
	}
}
