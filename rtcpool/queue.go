package rtcpool

import (
	"context"
	"net/netip"

	"github.com/penstock-media/penstock/rtcpool/internal/offer"
	"go.opentelemetry.io/otel/trace"
)

// maxWaiting bounds the offers of one session that wait their turn.
const maxWaiting = 64

// negotiation is one offer on its way to an answer.
type negotiation struct {
	ctx        context.Context  // the caller's; not heeded once the negotiation has begun
	generation uint64           // as asked: 0 is the current one
	offer      *offer.Offer     // nil for an ICE restart
	named      []string         // candidates whose mDNS name must be resolved first
	remotes    []netip.AddrPort // of the UDP candidates
	restart    *restart
	trickle    bool
	feeds      []trace.Link // streams
	reply      chan outcome // of capacity 1

	peer     *peer
	repeated bool            // it asks for the last answer again
	complete <-chan struct{} // gathering is complete
	finished func(outcome)   // ends the span
}

// restart is a remote ICE restart without an offer.
type restart struct {
	ufrag, pwd string
	candidates []string
}

type outcome struct {
	result Result
	err    error
}

// gathered is closed when every local candidate is known; nil, and so never, when nothing gathers.
func (n *negotiation) gathered() <-chan struct{} {
	if n == nil {
		return nil
	}
	return n.complete
}

func (n *negotiation) answer(o outcome) {
	if n.finished != nil {
		n.finished(o)
	}
	n.reply <- o
}

// enqueue lets an offer wait its turn.
func (s *Session) enqueue(n *negotiation) {
	if len(s.waiting) >= maxWaiting {
		s.pool.stats.busy.Add(1)
		n.answer(outcome{err: ErrBusy})
		return
	}
	s.waiting = append(s.waiting, n)
}

// nextNegotiation begins the next offer when none is being negotiated.
func (s *Session) nextNegotiation() {
	for s.busy == nil && len(s.waiting) > 0 && s.ctx.Err() == nil {
		i := nextOf(s.waiting)
		n := s.waiting[i]
		s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
		s.beginNegotiation(n)
	}
}

// nextOf picks the first that waits, or, of its generation and origin, the one of the lowest o= version.
func nextOf(waiting []*negotiation) int {
	best := 0
	for i, n := range waiting {
		first := waiting[best]
		if first.offer == nil || n.offer == nil {
			continue
		}
		if n.generation == first.generation && n.offer.SameOrigin(first.offer) &&
			n.offer.Origin.SessionVersion < first.offer.Origin.SessionVersion {
			best = i
		}
	}
	return best
}

// dropAll answers everything that waits.
func (s *Session) dropAll(reason DropReason) {
	if s.busy != nil {
		s.waiting = append(s.waiting, s.busy)
		s.busy = nil
	}
	for _, n := range s.waiting {
		s.drop(n, reason)
	}
	s.waiting = nil
}

func (s *Session) drop(n *negotiation, reason DropReason) {
	s.pool.stats.countDrop(reason)
	s.log.DebugContext(n.ctx, "offer dropped", "reason", reason.String(), "generation", n.generation, "current", s.generation())
	n.answer(outcome{result: Result{Drop: &Drop{Reason: reason, CurrentGeneration: s.generation(), MinGeneration: s.cfg.MinGeneration}}})
}

// least is the generation of what names none: the current one, or the lowest that there may be.
func (s *Session) least() uint64 { return max(s.generation(), s.cfg.MinGeneration, 1) }

// generation is the current one, or 0.
func (s *Session) generation() uint64 {
	if s.current == nil {
		return 0
	}
	return s.current.generation
}
