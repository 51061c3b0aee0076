// Package network is how the pool reaches media: the sockets of all peer connections, shared or their own, over UDP, TCP and TURN; which
// remote addresses are spoken to; mDNS names; the certificate; and pion's settings for all that.
//
// A [Network] is what all peer connections share; a [Peer] is one peer connection's part in it, and owns what is opened for it.
package network

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

	"github.com/pion/transport/v4/stdnet"
	"github.com/pion/webrtc/v4"
)

// interfacesAge is how long the list of interfaces is used before it is read again.
const interfacesAge = 10 * time.Second

// Network is what all peer connections share: the shared ports, the judgement of remote addresses, the certificate. Its
// methods are safe for concurrent use.
type Network struct {
	cfg    Config
	log    *slog.Logger
	logs   *pionLogs
	policy *policy
	certs  certificates
	lookUp *net.Resolver
	names  *names        // nil unless mDNS names are resolved
	longer time.Duration // what look-ups and dialing may take, where it is not 0
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

// New opens what is shared. Close must be called. An error says which setting is at fault, and its mend.
func New(cfg Config) (*Network, error) {
	w := &Network{cfg: cfg, log: cfg.Logger, logs: &pionLogs{log: cfg.Logger}, overflow: &atomic.Uint64{}}
	w.lookUp = promptResolver(cfg.Resolver)
	w.policy = newPolicy(cfg.Loopback, cfg.RefusePrivate, w.machineAddrs)
	for _, text := range cfg.AnnouncedIPs {
		if ip, err := netip.ParseAddr(text); err == nil { // the others are refused by Settings
			w.policy.announced = append(w.policy.announced, ip.Unmap())
		}
	}
	if err := w.openShared(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	if _, err := w.Settings(w.NewPeer(context.Background(), nil)); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// LetServersBeSlow lets looking up and dialing STUN and TURN servers take as long as d, in the place of a few seconds: what ends earlier was ended. It must be
// called before NewPeer.
func (w *Network) LetServersBeSlow(d time.Duration) { w.longer = d }

func (w *Network) openShared() error {
	local, err := w.localAddrs()
	if err != nil {
		return fmt.Errorf("reading the network interfaces: %w", err)
	}
	if first := w.cfg.UDPMuxPort; first != 0 {
		for i := range w.cfg.UDPMuxPorts {
			p, err := w.openSharedPort(first+uint16(i), local)
			if err != nil {
				return err
			}
			w.ports = append(w.ports, p)
		}
	}
	if port := w.cfg.TCPMuxPort; port != 0 {
		if w.tcp, err = w.openTCPMux(port, local); err != nil {
			return err
		}
	}
	if w.cfg.MDNS {
		if w.names, err = w.openNames(); err != nil {
			return err
		}
	}
	return nil
}

// Close closes what is shared. It is idempotent; no peer connection should be open.
func (w *Network) Close() error {
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
func (w *Network) currentInterfaces() (*stdnet.Net, error) {
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
func (w *Network) machineAddrs() []netip.Addr {
	var out []netip.Addr
	_ = w.eachAddr(func(_ net.Interface, ip netip.Addr) { out = append(out, ip) })
	return out
}

// localAddrs returns the addresses on which shared ports are opened.
func (w *Network) localAddrs() ([]netip.Addr, error) {
	var out []netip.Addr
	err := w.eachAddr(func(i net.Interface, ip netip.Addr) {
		switch {
		case i.Flags&net.FlagUp == 0, i.Flags&net.FlagLoopback != 0 && !w.cfg.Loopback, ip.IsLoopback() && !w.cfg.Loopback:
		case ip.IsLinkLocalUnicast(), slices.Contains(out, ip):
		case !w.cfg.takesInterface(i.Name), !w.cfg.takesAddress(ip):
		default:
			out = append(out, ip)
		}
	})
	return out, err
}

func (w *Network) eachAddr(f func(net.Interface, netip.Addr)) error {
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

// Protect names addresses on which this process itself serves: candidates that lead there are refused. The shared ports are
// protected without it.
func (w *Network) Protect(addrs ...netip.AddrPort) { w.policy.protect(addrs...) }

// Certificate returns the DTLS certificate of all peer connections.
func (w *Network) Certificate() (webrtc.Certificate, error) { return w.certs.at(time.Now()) }

// Stats counts what the sockets saw.
type Stats struct {
	Refused              Refused
	SocketOverflows      uint64 // packets that the kernel dropped since nobody read in time (Linux only)
	MuxSpilled           uint64 // peer connections that no shared UDP port could take
	TCPConnections       int    // open now, at the shared TCP port
	TCPRefused           uint64 // connections beyond MaxTCPConnections
	RelayRefreshesFailed uint64 // refreshes of an allocation that a TURN server refused
}

// Stats returns what was counted since New.
func (w *Network) Stats() Stats {
	return Stats{
		Refused: w.refused.read(), SocketOverflows: w.overflow.Load(), MuxSpilled: w.spilled.Load(),
		TCPConnections: int(w.tcpOpen.Load()), TCPRefused: w.tcpRefused.Load(), RelayRefreshesFailed: w.relayRefused.Load(),
	}
}
