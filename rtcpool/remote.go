package rtcpool

import (
	"github.com/penstock-media/penstock/rtcpool/internal/network"
	"github.com/pion/sdp/v3"
)

// judgeOffer takes out of an offer the candidates that are refused, and those whose name must be resolved first.
func (p *Pool) judgeOffer(o *offer) {
	use, named, at := p.network.Judge(o.candidates())
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

// namesPerSession bounds the mDNS names that are looked up for one session.
const namesPerSession = 8

// resolveNames looks up the names of candidates beside, and gives them to the generation with their addresses. It is called
// on the session's goroutine; what is more than namesPerSession is refused.
func (s *Session) resolveNames(generation uint64, ufrag string, values []string) (taken int) {
	for _, value := range values {
		r, ok := network.ReadRemote(value)
		if !ok || s.asked >= namesPerSession {
			s.pool.network.RefuseName()
			continue
		}
		s.asked++
		taken++
		s.closing.Go(func() { s.resolveName(generation, ufrag, value, r.Name) })
	}
	return taken
}

func (s *Session) resolveName(generation uint64, ufrag, value, name string) {
	ip, err := s.pool.network.LookUpName(s.ctx, name)
	if err != nil {
		s.log.Debug("mDNS name not resolved", "error", err)
		return
	}
	c := Candidate{Candidate: network.WithAddress(value, ip), UsernameFragment: &ufrag}
	if ufrag == "" {
		c.UsernameFragment = nil
	}
	_, _ = s.AddCandidate(s.ctx, generation, c) // ends with the session
}
