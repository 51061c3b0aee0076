package service

import (
	"sync/atomic"

	"github.com/penstock-media/penstock/service/internal/relay"
)

// counts is what happened to this process's sessions since it began. It is safe for concurrent use.
type counts struct {
	takenOver, deposed, handedOver, drained, storeLost atomic.Uint64
	forbidden, expired, unauthenticated, panics        atomic.Uint64
}

// Stats tells of the ownership of sessions and of calls between pods, since the process began.
type Stats struct {
	// TakenOver counts sessions that this process took over from others, adopted ones among them.
	TakenOver uint64
	// Deposed counts sessions that another process took over while this one did not know, as when it was paused.
	Deposed uint64
	// HandedOver counts sessions that another process took from this one in a drain.
	HandedOver uint64
	// Drained counts sessions that a drain had to end, since nobody took them.
	Drained uint64
	// ForwardsRefused counts calls that claimed to come from another pod, or were for pods only, and did not prove it, by cause: a closed set, each of which is there.
	ForwardsRefused map[string]uint64
	// StoreLost counts how often the store that pods share could no longer be reached.
	StoreLost uint64
	// Degraded tells that it cannot be reached now.
	Degraded bool
	// Refused counts what was refused because a limit was reached, by the limit's name: a closed set, each of which is there.
	Refused map[string]uint64
	// Unauthenticated counts calls without credentials or with wrong ones, Panics those that ended by a fault of the gateway that was caught.
	Unauthenticated, Panics uint64
}

// forwardsRefused returns Stats.ForwardsRefused.
func (s *Service) forwardsRefused() map[string]uint64 {
	out, names := make(map[string]uint64), relay.CauseNames()
	for cause, n := range s.proofs.Refused() {
		out[names[cause]] = n
	}
	return out
}

// Stats returns what happened so far.
func (s *Service) Stats() Stats {
	return Stats{
		TakenOver: s.counts.takenOver.Load(), Deposed: s.counts.deposed.Load(),
		HandedOver: s.counts.handedOver.Load(), Drained: s.counts.drained.Load(), ForwardsRefused: s.forwardsRefused(),
		StoreLost: s.counts.storeLost.Load(), Degraded: s.Degraded(),
		Refused: s.limits.refusals.byName(), Unauthenticated: s.counts.unauthenticated.Load(), Panics: s.counts.panics.Load(),
	}
}
