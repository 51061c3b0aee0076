package rtcpool

import (
	"net/netip"

	"github.com/penstock-media/penstock/rtcpool/internal/network"
	"github.com/penstock-media/penstock/rtcpool/internal/offer"
)

// judgeOffer takes out of an offer the candidates that are refused, and those whose name must be resolved first: named. remotes is where its
// UDP candidates lead.
func (p *Pool) judgeOffer(o *offer.Offer) (named []string, remotes []netip.AddrPort) {
	use, named, remotes := p.network.Judge(o.Candidates())
	o.KeepCandidates(use)
	return named, remotes
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
