package rtcpool

import (
	"net/netip"
	"strings"

	"github.com/pion/ice/v4"
	"github.com/pion/sdp/v3"
)

// remote is where a remote candidate leads.
type remote struct {
	at   netip.AddrPort
	name string // under .local, in place of the address
	udp  bool
}

// readRemote reads a candidate attribute that ICE understands (usableCandidate).
func readRemote(value string) (remote, bool) {
	c, err := ice.UnmarshalCandidate(strings.TrimPrefix(value, "candidate:"))
	if err != nil || c.Port() < 0 || c.Port() > 65535 {
		return remote{}, false
	}
	r := remote{udp: c.NetworkType().IsUDP() || strings.HasPrefix(strings.ToLower(c.NetworkType().NetworkShort()), "udp")}
	if isLocalName(c.Address()) {
		r.name = c.Address()
		return r, true
	}
	ip, err := netip.ParseAddr(c.Address())
	if err != nil {
		return remote{}, false
	}
	r.at = netip.AddrPortFrom(ip.Unmap(), uint16(c.Port())) //nolint:gosec // checked above
	return r, true
}

func isLocalName(host string) bool {
	return strings.HasSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), ".local")
}

// judge tells why a remote candidate is refused, if it is, and counts it. A name that will be resolved is not refused yet.
func (w *network) judge(r remote) Refusal {
	switch {
	case r.name == "":
		return w.count(w.policy.judge(r.at.Addr(), r.at.Port()))
	case w.names == nil:
		return w.count(RefusedMDNS)
	}
	return RefusedNone
}

// judgeValues returns the candidates that may be used, and apart from them those with a name to be resolved.
func (w *network) judgeValues(values []string) (use, named []string, at []netip.AddrPort) {
	for _, value := range values {
		r, ok := readRemote(value)
		switch {
		case !ok || w.judge(r) != RefusedNone:
		case r.name != "":
			named = append(named, value)
		default:
			use = append(use, value)
			if r.udp {
				at = append(at, r.at)
			}
		}
	}
	return use, named, at
}

// judgeOffer takes out of an offer the candidates that are refused, and those whose name must be resolved first.
func (w *network) judgeOffer(o *offer) {
	use, named, at := w.judgeValues(o.candidates())
	o.keepCandidates(use)
	o.named, o.remotes = named, at
}

// candidates returns the candidate attributes of an offer.
func (o *offer) candidates() []string {
	var out []string
	for _, m := range o.desc.MediaDescriptions {
		for _, a := range m.Attributes {
			if a.Key == sdp.AttrKeyCandidate {
				out = append(out, a.Value)
			}
		}
	}
	return out
}

// keepCandidates takes all but those out of an offer.
func (o *offer) keepCandidates(values []string) {
	keep := make(map[string]struct{}, len(values))
	for _, v := range values {
		keep[v] = struct{}{}
	}
	for _, m := range o.desc.MediaDescriptions {
		rest := m.Attributes[:0:0]
		for _, a := range m.Attributes {
			if _, ok := keep[a.Value]; a.Key == sdp.AttrKeyCandidate && !ok {
				continue
			}
			rest = append(rest, a)
		}
		m.Attributes = rest
	}
}

// admit takes out of an offer for a running peer connection the candidates that another user of its shared port talks to.
func (n *peerNet) admit(o *offer) {
	if n.shared == nil {
		return
	}
	var use []string
	for _, value := range o.candidates() {
		if r, ok := readRemote(value); ok && n.claim(r) {
			use = append(use, value)
		}
	}
	o.keepCandidates(use)
}

// claim tells whether a peer connection may talk to a remote address, and counts it if not.
func (n *peerNet) claim(r remote) bool {
	if n.shared == nil || !r.udp || n.shared.claim(n, r.at) {
		return true
	}
	n.network.count(RefusedInUse)
	return false
}

// withAddress puts an address in the place of a candidate's name (RFC 8839 section 5.1: the fifth word).
func withAddress(value string, ip netip.Addr) string {
	words := strings.Fields(value)
	if len(words) > 4 {
		words[4] = ip.Unmap().WithZone("").String()
	}
	return strings.Join(words, " ")
}

// resolveNames looks up the names of candidates beside, and gives them to the generation with their addresses. It is called
// on the session's goroutine; what is more than namesPerSession is refused.
func (s *Session) resolveNames(generation uint64, ufrag string, values []string) (taken int) {
	for _, value := range values {
		r, ok := readRemote(value)
		if !ok || s.asked >= namesPerSession {
			s.pool.network.count(RefusedMDNS)
			continue
		}
		s.asked++
		taken++
		s.closing.Go(func() { s.resolveName(generation, ufrag, value, r.name) })
	}
	return taken
}

func (s *Session) resolveName(generation uint64, ufrag, value, name string) {
	ip, err := s.pool.network.names.lookUp(s.ctx, name)
	if err != nil {
		s.pool.network.count(RefusedMDNS)
		s.log.Debug("mDNS name not resolved", "error", err)
		return
	}
	c := Candidate{Candidate: withAddress(value, ip), UsernameFragment: &ufrag}
	if ufrag == "" {
		c.UsernameFragment = nil
	}
	_, _ = s.AddCandidate(s.ctx, generation, c) // ends with the session
}

// refuses tells whether the policy refuses a candidate. End-of-candidates leads nowhere.
func (s *Session) refuses(c Candidate) bool {
	r, ok := readRemote(c.Candidate)
	return ok && s.pool.network.judge(r) != RefusedNone
}
