package rtcpool

import (
	"sync/atomic"

	"github.com/penstock-media/penstock/rtcpool/internal/network"
)

// Stats counts what the pool did since it was made.
type Stats struct {
	Sessions, PeerConnections                              int    // open now
	Answered, Repeated, Failed                             uint64 // offers
	Busy                                                   uint64 // offers refused since too many waited
	DroppedClosed, DroppedStale, DroppedSuperseded         uint64 // offers
	CandidatesAdded, CandidatesKept                        uint64
	CandidatesIgnored, CandidatesDropped                   uint64
	KeyFrameRequests, KeyFrameRequestsHeld, UnboundPackets uint64
	SourcesRefused                                         uint64 // that no offer declares, beyond what one peer connection may have
	KeyFrameRequestsUnknown                                uint64 // not sent: neither PLI nor FIR was negotiated
	NACKs, NACKedPackets                                   uint64 // NACK packets sent, and how many packets they asked for
	RepairedPackets                                        uint64 // that came after they were asked for
	UnwantedRetransmissions                                uint64 // probes, and what came or was given up before
	ReceiverReports, TransportCC, REMBs                    uint64 // RTCP packets sent
	BadRTCP, Byes                                          uint64 // RTCP received: unreadable packets; sources that ended
	Network                                                NetworkStats
}

// NetworkStats counts what the sockets of the pool saw.
type NetworkStats struct {
	Refused              RefusedCandidates
	SocketOverflows      uint64 // packets that the kernel dropped since nobody read in time (Linux only)
	MuxSpilled           uint64 // peer connections that no shared UDP port could take
	TCPConnections       int    // open now, at the shared TCP port
	TCPRefused           uint64 // connections beyond MaxTCPConnections
	RelayRefreshesFailed uint64 // refreshes of an allocation that a TURN server refused
}

// RefusedCandidates counts remote candidates by the reason why they were refused; peer-reflexive ones too.
type RefusedCandidates struct {
	Own, Metadata, Loopback, Multicast, Private, MDNS, InUse uint64
}

func networkStats(s network.Stats) NetworkStats {
	return NetworkStats{
		Refused: RefusedCandidates(s.Refused), SocketOverflows: s.SocketOverflows, MuxSpilled: s.MuxSpilled,
		TCPConnections: s.TCPConnections, TCPRefused: s.TCPRefused, RelayRefreshesFailed: s.RelayRefreshesFailed,
	}
}

type counters struct {
	peers                                                  atomic.Int64
	answered, repeated, failed, busy                       atomic.Uint64
	droppedClosed, droppedStale, droppedSuperseded         atomic.Uint64
	candidates                                             [CandidateDropped + 1]atomic.Uint64
	keyFrameRequests, keyFrameRequestsHeld, unboundPackets atomic.Uint64
	sourcesRefused                                         atomic.Uint64
	keyFrameRequestsUnknown                                atomic.Uint64
	nacks, nackedPackets, repaired, unwanted               atomic.Uint64
	receiverReports, transportCC, rembs, badRTCP, byes     atomic.Uint64
}

// Stats returns counters.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	sessions := len(p.sessions)
	p.mu.Unlock()
	c := &p.stats
	return Stats{
		Sessions: sessions, PeerConnections: int(c.peers.Load()),
		Busy: c.busy.Load(), Answered: c.answered.Load(), Repeated: c.repeated.Load(), Failed: c.failed.Load(),
		DroppedClosed: c.droppedClosed.Load(), DroppedStale: c.droppedStale.Load(),
		DroppedSuperseded: c.droppedSuperseded.Load(),
		CandidatesAdded:   c.candidates[CandidateAdded].Load(), CandidatesKept: c.candidates[CandidateKept].Load(),
		CandidatesIgnored: c.candidates[CandidateIgnored].Load(), CandidatesDropped: c.candidates[CandidateDropped].Load(),
		KeyFrameRequests: c.keyFrameRequests.Load(), KeyFrameRequestsHeld: c.keyFrameRequestsHeld.Load(),
		UnboundPackets: c.unboundPackets.Load(),
		SourcesRefused: c.sourcesRefused.Load(), KeyFrameRequestsUnknown: c.keyFrameRequestsUnknown.Load(),
		NACKs: c.nacks.Load(), NACKedPackets: c.nackedPackets.Load(),
		RepairedPackets: c.repaired.Load(), UnwantedRetransmissions: c.unwanted.Load(),
		ReceiverReports: c.receiverReports.Load(), TransportCC: c.transportCC.Load(), REMBs: c.rembs.Load(),
		BadRTCP: c.badRTCP.Load(), Byes: c.byes.Load(),
		Network: networkStats(p.network.Stats()),
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
