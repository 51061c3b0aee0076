package main

import (
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service"
)

// sharing tells how sessions are shared with other pods: of the service, and where there is a store that pods share, of that.
func (g *gateway) sharing() []gauge {
	all := ownershipGauges(g.service.Stats())
	if g.storeStats != nil {
		all = append(all, storeGauges(g.storeStats())...)
	}
	return all
}

// ownershipGauges are what became of this process's sessions.
func ownershipGauges(s service.Stats) []gauge {
	return []gauge{
		{"penstock_sessions_taken_over_total", "Sessions that this process took over from others.", count(s.TakenOver)},
		{"penstock_sessions_deposed_total", "Sessions that another process took over while this one did not know, as when it was paused.", count(s.Deposed)},
		{"penstock_sessions_handed_over_total", "Sessions that another process took from this one in a drain.", count(s.HandedOver)},
		{"penstock_sessions_drained_total", "Sessions that a drain ended, since nobody took them.", count(s.Drained)},
		{"penstock_forwards_refused_total", "Calls that claimed to come from another pod and did not prove it.", count(s.ForwardsRefused)},
		{"penstock_degraded", "1 while the store that pods share cannot be reached.", flag(s.Degraded)},
		{"penstock_store_lost_total", "Times that the store could no longer be reached.", count(s.StoreLost)},
	}
}

// storeGauges are how the store fares.
func storeGauges(s resolverstore.Stats) []gauge {
	return []gauge{
		{"penstock_store_pods", "Pods whose leases live, this one among them.", int64(s.Pods)},
		{"penstock_store_sessions_held", "Sessions whose state is held here.", int64(s.Held)},
		{"penstock_store_sessions_owned", "Sessions that this process owns.", int64(s.Owned)},
		{"penstock_store_sessions_ahead", "Sessions whose newest state is not stored yet.", int64(s.Ahead)},
		{"penstock_store_failures_total", "Commands that Redis did not do or answer.", count(s.Failures)},
		{"penstock_store_losses_total", "Times that Redis had lost this process's lease, and perhaps all else.", count(s.Losses)},
		{"penstock_store_pauses_total", "Times that this process was paused for longer than its lease lasts.", count(s.Pauses)},
		{"penstock_store_rewritten_total", "Sessions written again, as Redis had lost them or held junk.", count(s.Rewritten)},
		{"penstock_store_reconciled_total", "Sessions stored that had changed while Redis was away.", count(s.Reconciled)},
		{"penstock_store_fenced_total", "Writes refused since the writer owns the session no longer.", count(s.Fenced)},
		{"penstock_store_corrupt_total", "Stored things refused since they cannot be read.", count(s.Corrupt)},
	}
}

func count(n uint64) int64 { return int64(n) } //nolint:gosec // nothing here is counted so far

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
