package network

import (
	"net/netip"
	"slices"
	"sync/atomic"
)

// Refusal says why a remote candidate is not used.
type Refusal uint8

// The reasons. RefusedNone is none.
const (
	RefusedNone      Refusal = iota
	RefusedOwn               // a port of this process
	RefusedMetadata          // a metadata service of a cloud
	RefusedLoopback          // this machine
	RefusedMulticast         // not one host
	RefusedPrivate           // not a public network
	RefusedMDNS              // a name under .local that is not, or can not be, resolved
	RefusedInUse             // another session on the same shared port talks to that address
	refusals
)

var refusalNames = [refusals]string{"none", "own port", "metadata service", "loopback", "multicast", "private network", "mDNS name", "address in use"}

// String returns the reason in words.
func (r Refusal) String() string {
	if r < refusals {
		return refusalNames[r]
	}
	return "refusal"
}

// Refused counts remote candidates by the reason why they were refused; peer-reflexive ones too.
type Refused struct {
	Own, Metadata, Loopback, Multicast, Private, MDNS, InUse uint64
}

type refusalCounters [refusals]atomic.Uint64

func (c *refusalCounters) read() Refused {
	return Refused{
		Own: c[RefusedOwn].Load(), Metadata: c[RefusedMetadata].Load(), Loopback: c[RefusedLoopback].Load(),
		Multicast: c[RefusedMulticast].Load(), Private: c[RefusedPrivate].Load(), MDNS: c[RefusedMDNS].Load(),
		InUse: c[RefusedInUse].Load(),
	}
}

// prefixes parses a table of networks.
func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		out[i] = netip.MustParsePrefix(text)
	}
	return out
}

// policy judges remote addresses. It is made once and safe for concurrent use.
type policy struct {
	loopback, refusePrivate             bool
	metadata, private, multicast, local []netip.Prefix
	translated                          []translation
	own                                 atomic.Pointer[[]netip.AddrPort]
	ours                                func() []netip.Addr // the addresses of this machine
	announced                           []netip.Addr        // by which others reach it
}

// translation is an IPv6 network whose addresses carry an IPv4 address, from the byte named on.
type translation struct {
	prefix netip.Prefix
	at     int
}

func newPolicy(loopback, refusePrivate bool, ours func() []netip.Addr) *policy {
	return &policy{
		loopback: loopback, refusePrivate: refusePrivate, ours: ours,
		metadata: prefixes(
			"169.254.0.0/16",                     // of most clouds, and of containers and node-local helpers in them: RFC 3927 has no SFU
			"fd00:ec2::/112", "fd20:ce::254/128", // AWS, Google
			"168.63.129.16/32", "192.0.0.192/32", // Azure, Oracle
			"100.100.100.200/32", "fd00:42::42/128", // Alibaba, Scaleway
			"fe80::a9fe:a9fe/128", // OpenStack
		),
		local:     prefixes("127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128"),
		multicast: prefixes("224.0.0.0/4", "240.0.0.0/4", "ff00::/8"),
		private: prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
			"100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", // RFC 6598, 6890, 2544
			"fc00::/7", "fe80::/10", "fec0::/10"), // RFC 4193, 4291, 3879
		translated: []translation{
			{netip.MustParsePrefix("64:ff9b::/96"), 12},   // RFC 6052
			{netip.MustParsePrefix("64:ff9b:1::/48"), 12}, // RFC 8215, with the usual /96
			{netip.MustParsePrefix("2002::/16"), 2},       // RFC 3056
			{netip.MustParsePrefix("::/96"), 12},          // RFC 4291 section 2.5.5.1
		},
	}
}

// protect adds addresses of this process's own services, which no candidate may name.
func (p *policy) protect(addrs ...netip.AddrPort) {
	for {
		before := p.own.Load()
		var all []netip.AddrPort
		if before != nil {
			all = slices.Clone(*before)
		}
		all = append(all, addrs...)
		if p.own.CompareAndSwap(before, &all) {
			return
		}
	}
}

// judge tells why a remote address is refused, if it is. Port 0 is not known. What an IPv6 address carries of IPv4 is
// judged as that.
func (p *policy) judge(ip netip.Addr, port uint16) Refusal {
	ip = p.plain(ip)
	in := func(list []netip.Prefix) bool {
		return slices.ContainsFunc(list, func(n netip.Prefix) bool { return n.Contains(ip) })
	}
	switch {
	case in(p.metadata):
		return RefusedMetadata
	case p.isOwn(ip, port, in(p.local)):
		return RefusedOwn
	case in(p.local):
		if !p.loopback || ip.IsUnspecified() {
			return RefusedLoopback
		}
	case in(p.multicast):
		return RefusedMulticast
	case p.refusePrivate && in(p.private):
		return RefusedPrivate
	}
	return RefusedNone
}

// plain strips the zone and takes out an embedded IPv4 address.
func (p *policy) plain(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if !ip.Is6() || ip.IsUnspecified() || ip.IsLoopback() {
		return ip
	}
	for _, t := range p.translated {
		if t.prefix.Contains(ip) {
			b := ip.As16()
			return netip.AddrFrom4([4]byte(b[t.at : t.at+4]))
		}
	}
	return ip
}

// isOwn tells whether an address is one of this process's services. One that listens on every address is found at each; by an announced
// address each is found that others may reach.
func (p *policy) isOwn(ip netip.Addr, port uint16, local bool) bool {
	own := p.own.Load()
	if own == nil || port == 0 {
		return false
	}
	announced := slices.Contains(p.announced, ip)
	for _, a := range *own {
		if a.Port() != port {
			continue
		}
		if at := a.Addr().Unmap().WithZone(""); at == ip || (announced && !at.IsLoopback()) || (at.IsUnspecified() && (local || slices.Contains(p.ours(), ip))) {
			return true
		}
	}
	return false
}
