package sfutest

import (
	"context"
	"fmt"
	"sync"

	"github.com/pion/webrtc/v4"
)

// Trickle is when the SFU tells its candidates (RFC 8838).
type Trickle uint8

// The times.
const (
	// TrickleOff puts them all into the offer.
	TrickleOff Trickle = iota
	// TrickleWith sends them while the offer is on its way, each by itself, and end-of-candidates.
	TrickleWith
	// TrickleBefore sends them before the offer.
	TrickleBefore
)

// Trickler is a Signaller that carries candidates too. Its AddCandidate may be called while Negotiate is under way.
type Trickler interface {
	Signaller
	// AddCandidate gives one of the SFU's candidates. An empty one is end-of-candidates.
	AddCandidate(ctx context.Context, generation uint64, c webrtc.ICECandidateInit) error
}

// AddCandidate takes a candidate of the gateway, before or after its answer. Unlike the other methods it does not wait for
// a negotiation that is under way. Of a generation that is not there it is ignored.
func (s *SFU) AddCandidate(generation uint64, c webrtc.ICECandidateInit) error {
	s.peersMu.Lock()
	defer s.peersMu.Unlock()
	for _, p := range s.peers {
		if p.generation == generation {
			return p.inbox.add(p.pc, c)
		}
	}
	return nil
}

// inbox keeps the gateway's candidates for as long as no answer has told whose they are.
type inbox struct {
	mu      sync.Mutex
	ready   bool
	waiting []webrtc.ICECandidateInit
}

// shut keeps candidates from now on: the next answer may have other ICE credentials.
func (i *inbox) shut() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ready = false
}

// open gives what was kept to pion.
func (i *inbox) open(pc *webrtc.PeerConnection) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ready = true
	waiting := i.waiting
	i.waiting = nil
	for _, c := range waiting {
		if err := pc.AddICECandidate(c); err != nil {
			return fmt.Errorf("add the candidate %q: %w", c.Candidate, err)
		}
	}
	return nil
}

func (i *inbox) add(pc *webrtc.PeerConnection, c webrtc.ICECandidateInit) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.ready {
		i.waiting = append(i.waiting, c)
		return nil
	}
	if err := pc.AddICECandidate(c); err != nil {
		return fmt.Errorf("add the candidate %q: %w", c.Candidate, err)
	}
	return nil
}

// trickle takes the candidates out of an offer and returns what sends them.
func (s *SFU) trickle(d *description) (send func(context.Context) error) {
	candidates, mid, ufrag := d.takeCandidates()
	index := uint16(0)
	init := func(candidate string) webrtc.ICECandidateInit {
		return webrtc.ICECandidateInit{Candidate: candidate, SDPMid: &mid, SDPMLineIndex: &index, UsernameFragment: &ufrag}
	}
	trickler, _ := s.cfg.Signaller.(Trickler) // New has checked it
	generation := s.peer.generation
	return func(ctx context.Context) error {
		for _, c := range append(candidates, "") {
			if err := trickler.AddCandidate(ctx, generation, init(c)); err != nil {
				return fmt.Errorf("trickle %q: %w", c, err)
			}
		}
		return nil
	}
}
