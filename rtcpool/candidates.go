package rtcpool

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/penstock-media/penstock/rtcpool/internal/network"
	"github.com/penstock-media/penstock/rtcpool/internal/offer"
	"github.com/pion/webrtc/v4"
)

// Bounds on what a peer can make us keep.
const (
	maxKeptCandidates  = 256 // of one generation
	maxKeptGenerations = 4
	maxUsedUfrags      = 256
	maxRemotes         = 512 // of one peer connection between two ICE restarts
	maxContested       = 64
)

// keptCandidates are remote candidates whose offer has not come, by generation.
type keptCandidates map[uint64][]Candidate

func (k keptCandidates) keep(generation uint64, c Candidate) bool {
	list, known := k[generation]
	if (!known && len(k) >= maxKeptGenerations) || len(list) >= maxKeptCandidates {
		return false
	}
	k[generation] = append(list, c)
	return true
}

func (k keptCandidates) take(generation uint64) []Candidate {
	list := k[generation]
	delete(k, generation)
	return list
}

func (k keptCandidates) forgetBelow(generation uint64) {
	for g := range k {
		if g < generation {
			delete(k, g)
		}
	}
}

// AddCandidate gives a remote candidate; before its offer it is kept. What cannot be used is told by the result and
// counted; it is not an error. Errors: ctx's.
func (s *Session) AddCandidate(ctx context.Context, generation uint64, c Candidate) (CandidateResult, error) {
	reply := make(chan CandidateResult, 1)
	taken, err := s.do(ctx, func() { reply <- s.addCandidate(generation, c) })
	if err != nil {
		return 0, err
	}
	result := CandidateDropped
	if taken {
		result = <-reply
	}
	s.pool.stats.candidates[result].Add(1)
	return result, nil
}

// addCandidate judges a candidate by the generation and the credentials that it names.
func (s *Session) addCandidate(generation uint64, c Candidate) CandidateResult {
	if generation == 0 {
		generation = s.least()
	}
	ufrag, ok := readCandidate(c)
	p := s.current
	switch {
	case !ok || s.pool.network.Refuses(c.Candidate):
		return CandidateIgnored
	case p != nil && generation < p.generation, generation < s.cfg.MinGeneration:
		return CandidateDropped
	case p == nil || generation > p.generation || p.last == nil:
		return s.keep(generation, c)
	case ufrag == "" || ufrag == p.last.Ufrag:
		return p.addCandidate(c)
	}
	if _, used := p.usedUfrags[ufrag]; used {
		return CandidateIgnored
	}
	return s.keep(generation, c) // of an offer that is still to come
}

func (s *Session) keep(generation uint64, c Candidate) CandidateResult {
	if !s.kept.keep(generation, c) {
		return CandidateIgnored
	}
	return CandidateKept
}

// addKept adds what was kept for the offer that has just been applied.
func (s *Session) addKept(p *peer) {
	for _, c := range s.kept.take(p.generation) {
		result := CandidateIgnored
		if ufrag, ok := readCandidate(c); ok && (ufrag == "" || ufrag == p.last.Ufrag) {
			result = p.addCandidate(c)
		}
		s.pool.stats.candidates[result].Add(1)
	}
}

func (p *peer) addCandidate(c Candidate) CandidateResult {
	if r, ok := network.ReadRemote(c.Candidate); ok && r.Name != "" {
		if p.session.resolveNames(p.generation, p.last.Ufrag, []string{c.Candidate}) == 0 {
			return CandidateIgnored
		}
		return CandidateKept
	} else if ok && !p.net.Claim(r) {
		p.session.contest(r.At)
		if len(p.remotes) == 0 {
			p.session.tellContested(p)
		}
		return CandidateIgnored
	}
	if c.Candidate != "" && !p.remote(c.Candidate) {
		return CandidateIgnored
	}
	if err := p.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: c.Candidate}); err != nil {
		return CandidateIgnored
	}
	return CandidateAdded
}

// contest remembers addresses that another session on the shared port talks to: the next generation gets other sockets.
func (s *Session) contest(taken ...netip.AddrPort) {
	for _, at := range taken {
		if len(s.contested) < maxContested && !slices.Contains(s.contested, at) {
			s.contested = append(s.contested, at)
		}
	}
}

// tellContested asks for a new generation in place of a connection that has not come about.
func (s *Session) tellContested(p *peer) {
	if p == s.current && p.state != StateConnected {
		s.needRestart(p, Restart{
			MinGeneration: p.generation + 1, Reason: "another session on the same port talks to the address of the SFU; a new generation gets other sockets",
		})
	}
}

// remote takes note of a remote candidate, and tells whether ICE may have it: it keeps each, and a pair with each local one.
func (p *peer) remote(value string) bool {
	value = strings.TrimPrefix(value, "candidate:")
	if _, known := p.remotes[value]; !known && len(p.remotes) >= maxRemotes {
		return false
	}
	p.remotes[value] = struct{}{}
	return true
}

// limitCandidates leaves out of an offer the candidates that are too many.
func (p *peer) limitCandidates(o *offer.Offer) {
	if p.last == nil || p.last.Ufrag != o.Ufrag {
		clear(p.remotes)
	}
	o.FilterCandidates(p.remote)
}

// readCandidate tells whether ICE understands a candidate, and the username fragment that it names, if any.
func readCandidate(c Candidate) (ufrag string, ok bool) {
	if c.UsernameFragment != nil {
		ufrag = *c.UsernameFragment
	}
	return offer.ReadCandidate(c.Candidate, ufrag)
}
