package rtcpool

import "sync/atomic"

// Stats counts what the pool did since it was made.
type Stats struct {
	Sessions, PeerConnections                              int    // open now
	Answered, Repeated, Failed                             uint64 // offers
	DroppedClosed, DroppedStale, DroppedSuperseded         uint64 // offers
	CandidatesAdded, CandidatesKept                        uint64
	CandidatesIgnored, CandidatesDropped                   uint64
	KeyFrameRequests, KeyFrameRequestsHeld, UnboundPackets uint64
}

type counters struct {
	peers                                                  atomic.Int64
	answered, repeated, failed                             atomic.Uint64
	droppedClosed, droppedStale, droppedSuperseded         atomic.Uint64
	candidates                                             [CandidateDropped + 1]atomic.Uint64
	keyFrameRequests, keyFrameRequestsHeld, unboundPackets atomic.Uint64
}

// Stats returns counters.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	sessions := len(p.sessions)
	p.mu.Unlock()
	c := &p.stats
	return Stats{
		Sessions: sessions, PeerConnections: int(c.peers.Load()),
		Answered: c.answered.Load(), Repeated: c.repeated.Load(), Failed: c.failed.Load(),
		DroppedClosed: c.droppedClosed.Load(), DroppedStale: c.droppedStale.Load(),
		DroppedSuperseded: c.droppedSuperseded.Load(),
		CandidatesAdded:   c.candidates[CandidateAdded].Load(), CandidatesKept: c.candidates[CandidateKept].Load(),
		CandidatesIgnored: c.candidates[CandidateIgnored].Load(), CandidatesDropped: c.candidates[CandidateDropped].Load(),
		KeyFrameRequests: c.keyFrameRequests.Load(), KeyFrameRequestsHeld: c.keyFrameRequestsHeld.Load(),
		UnboundPackets: c.unboundPackets.Load(),
	}
}

func (c *counters) countDrop(r DropReason) {
	switch r {
	case DropClosed:
		c.droppedClosed.Add(1)
	case DropStaleGeneration:
		c.droppedStale.Add(1)
	case DropSuperseded:
		c.droppedSuperseded.Add(1)
	}
}
