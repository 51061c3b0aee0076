package network

import (
	"net/netip"
	"strings"

	"github.com/pion/ice/v4"
)

// Remote is where a remote candidate leads.
type Remote struct {
	At   netip.AddrPort
	Name string // under .local, in place of the address
	UDP  bool
}

// ReadRemote reads a candidate attribute (RFC 8839 section 5.1) that ICE understands.
func ReadRemote(value string) (Remote, bool) {
	c, err := ice.UnmarshalCandidate(strings.TrimPrefix(value, "candidate:"))
	if err != nil || c.Port() < 0 || c.Port() > 65535 {
		return Remote{}, false
	}
	r := Remote{UDP: c.NetworkType().IsUDP() || strings.HasPrefix(strings.ToLower(c.NetworkType().NetworkShort()), "udp")}
	if isLocalName(c.Address()) {
		r.Name = c.Address()
		return r, true
	}
	ip, err := netip.ParseAddr(c.Address())
	if err != nil {
		return Remote{}, false
	}
	r.At = netip.AddrPortFrom(ip.Unmap(), uint16(c.Port())) //nolint:gosec // checked above
	return r, true
}

func isLocalName(host string) bool {
	return strings.HasSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), ".local")
}

// judge tells why a remote candidate is refused, if it is, and counts it. A name that will be resolved is not refused yet.
func (w *Network) judge(r Remote) Refusal {
	switch {
	case r.Name == "":
		return w.count(w.policy.judge(r.At.Addr(), r.At.Port()))
	case w.names == nil:
		return w.count(RefusedMDNS)
	}
	return RefusedNone
}

// Judge returns the candidates that may be used, and apart from them those with a name to be resolved. at
// is where those that may be used lead over UDP. What is refused is counted.
func (w *Network) Judge(values []string) (use, named []string, at []netip.AddrPort) {
	for _, value := range values {
		r, ok := ReadRemote(value)
		switch {
		case !ok || w.judge(r) != RefusedNone:
		case r.Name != "":
			named = append(named, value)
		default:
			use = append(use, value)
			if r.UDP {
				at = append(at, r.At)
			}
		}
	}
	return use, named, at
}

// Refuses tells whether a candidate attribute leads where nothing is sent, and counts it. What cannot be read leads nowhere.
func (w *Network) Refuses(value string) bool {
	r, ok := ReadRemote(value)
	return ok && w.judge(r) != RefusedNone
}

// count counts a refusal and returns it.
func (w *Network) count(r Refusal) Refusal {
	if r != RefusedNone {
		w.refused[r].Add(1)
	}
	return r
}

// Admit returns the candidates that the peer connection may use while it runs, and apart from them the addresses that another
// user of its shared port talks to, which are counted.
func (n *Peer) Admit(values []string) (use []string, taken []netip.AddrPort) {
	if n.shared == nil {
		return values, nil
	}
	for _, value := range values {
		switch r, ok := ReadRemote(value); {
		case !ok:
		case n.Claim(r):
			use = append(use, value)
		default:
			taken = append(taken, r.At)
		}
	}
	return use, taken
}

// Claim tells whether a peer connection may talk to a remote address, and counts it if not.
func (n *Peer) Claim(r Remote) bool {
	if n.shared == nil || !r.UDP || n.shared.claim(n, r.At) {
		return true
	}
	n.network.count(RefusedInUse)
	return false
}

// WithAddress puts an address in the place of a candidate's name (RFC 8839 section 5.1: the fifth word).
func WithAddress(value string, ip netip.Addr) string {
	words := strings.Fields(value)
	if len(words) > 4 {
		words[4] = ip.Unmap().WithZone("").String()
	}
	return strings.Join(words, " ")
}
