package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/pion/mdns/v2"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const nameTimeout = 2 * time.Second // of one mDNS name

// names resolves mDNS names (RFC 6762) for all sessions, by one socket a family. Safe for concurrent use.
type names struct{ conn *mdns.Conn }

// openNames joins the multicast groups.
func (w *Network) openNames() (*names, error) {
	all, err := w.currentInterfaces()
	if err != nil {
		return nil, err
	}
	list, err := all.Interfaces()
	if err != nil {
		return nil, err
	}
	var on []net.Interface
	for _, i := range list {
		loopback := i.Flags&net.FlagLoopback != 0
		if i.Flags&net.FlagUp != 0 && w.cfg.takesInterface(i.Name) && (!loopback || w.cfg.Loopback) {
			on = append(on, i.Interface)
		}
	}
	four, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(224, 0, 0, 0), Port: 5353})
	if err != nil {
		return nil, fmt.Errorf("Network.MDNS: %w; leave it off where port 5353 is another's", err)
	}
	var six *ipv6.PacketConn
	if !w.cfg.DisableIPv6 {
		if conn, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.ParseIP("ff02::"), Port: 5353}); err == nil {
			six = ipv6.NewPacketConn(conn)
		}
	}
	conn, err := mdns.NewServer(ipv4.NewPacketConn(four), six, mdns.WithInterfaces(on...), mdns.WithIncludeLoopback(w.cfg.Loopback),
		mdns.WithLoggerFactory(w.logs), mdns.WithCacheRefresh(false))
	if err != nil {
		return nil, fmt.Errorf("Network.MDNS: %w; leave it off where there is no multicast", err)
	}
	return &names{conn: conn}, nil
}

// lookUp returns the address of a name, within nameTimeout.
func (n *names) lookUp(ctx context.Context, name string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	_, addr, err := n.conn.QueryAddr(ctx, strings.TrimSuffix(name, "."))
	return addr, err
}

// LookUpName returns the address of an mDNS name, within two seconds. It must be configured.
func (w *Network) LookUpName(ctx context.Context, name string) (netip.Addr, error) {
	addr, err := w.names.lookUp(ctx, name)
	if err != nil {
		w.RefuseName()
	}
	return addr, err
}

// RefuseName counts a candidate whose name is not looked up.
func (w *Network) RefuseName() { w.count(RefusedMDNS) }

// Close leaves the groups.
func (n *names) Close() error { return n.conn.Close() }
