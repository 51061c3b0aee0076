package metrics

// RefusalCauses are why calls that claim to come from a pod are refused, as label values. A test compares them with the service.
const RefusalCauses = "stranger secret clock replayed target identity"

// podMetrics are of calls between pods, and of sessions that move between them.
func podMetrics() []Metric {
	return []Metric{
		{Name: "penstock_forwarded_calls_total", Kind: Count, Labels: []Label{label("type", "unary stream"), label("result", "ok failed")},
			Help: "Calls and legs of streams that this process sent to the pod that has the session. failed counts those that did not get there or were lost with it, and those that pod refused.",
			Do:   "Many `failed` without a pod that goes: NetworkPolicy, `--pod-addr`, or secrets that differ."},
		{Name: "penstock_forwarded_open", Kind: Gauge, Help: "Of those, what is open now."},
		{Name: "penstock_forwarded_received_bytes_total", Kind: Count, Unit: "By", Help: "What came back, to be passed on to callers."},
		{Name: "penstock_pod_connections", Kind: Gauge, Help: "Connections to other pods."},
		{Name: "penstock_redirects_total", Kind: Count, Help: "Streams whose caller was told the pod that has the session (`accept_redirect`)."},
		{Name: "penstock_forwards_refused_total", Kind: Count, Labels: []Label{label("cause", RefusalCauses)},
			Help: "Calls that claimed to come from another pod and did not prove it. `stranger`: anybody can cause it. `secret`: not signed by the pods' secret, and from the address of a pod whose lease is seen. `clock`, `replayed`, `target` (another incarnation, as after a restart) and `identity` (no certificate of `--pod-ca`): signed, and refused for that.",
			Do:   "`secret`, `clock`, `identity`: pods that are configured otherwise. `replayed`: somebody listens between pods. `stranger`: somebody tries; nothing. The log has the fault, and who."},
		{Name: "penstock_sessions_taken_over_total", Kind: Count, Help: "Sessions that this process took over from others.", Do: "Find out why the other pod went."},
		{Name: "penstock_sessions_adopted_total", Kind: Count, Help: "Of those, sessions whose owner agreed since it was about to stop."},
		{Name: "penstock_sessions_deposed_total", Kind: Count, Help: "Sessions that another process took over while this one did not know, as when it was paused.",
			Do: "CPU limits, swapping, a machine that is suspended or migrated."},
		{Name: "penstock_sessions_handed_over_total", Kind: Count, Help: "Sessions that another process took from this one in a drain."},
		{Name: "penstock_sessions_drained_total", Kind: Count, Help: "Sessions that a drain ended, since nobody took them.", Do: "Another pod must be ready first: `maxUnavailable: 0`; larger `--drain-grace`."},
		{Name: "penstock_degraded", Kind: Gauge, Help: "1 while the store that pods share cannot be reached.", Do: "Redis, and the network to it."},
		{Name: "penstock_store_lost_total", Kind: Count, Help: "Times that the store could no longer be reached."},
	}
}

// storeMetrics are of Redis. Without it they are not told.
func storeMetrics() []Metric {
	return []Metric{
		{Name: "penstock_store_command_seconds", Kind: Durations, Unit: "s", Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5},
			Help: "How long Redis took to answer a command or a pipeline, the wait for a connection included.", Do: "Slow commands of others on that Redis; the network."},
		{Name: "penstock_store_pods", Kind: Gauge, Help: "Pods whose leases live, this one among them."},
		{Name: "penstock_store_pods_unproved", Kind: Gauge, Help: "Of those, pods whose leases are not proved: nobody calls them.", Do: "A pod with another secret, a clock that differs, or somebody who writes to Redis. The log names it."},
		{Name: "penstock_store_sessions_held", Kind: Gauge, Help: "Sessions whose state is held here."},
		{Name: "penstock_store_sessions_owned", Kind: Gauge, Help: "Sessions that this process owns."},
		{Name: "penstock_store_sessions_ahead", Kind: Gauge, Help: "Sessions whose newest state is not stored yet.", Do: "It must go back to 0 when Redis is back."},
		{Name: "penstock_store_failures_total", Kind: Count, Help: "Commands that Redis did not do or answer.", Do: "Alone, without `penstock_degraded`: Redis is full or slow."},
		{Name: "penstock_store_losses_total", Kind: Count, Help: "Times that Redis had lost this process's lease, and perhaps all else: flushed, restarted, failed over."},
		{Name: "penstock_store_pauses_total", Kind: Count, Help: "Times that this process was paused for longer than its lease lasts.", Do: "As for `penstock_sessions_deposed_total`."},
		{Name: "penstock_store_rewritten_total", Kind: Count, Help: "Sessions written again, as Redis had lost them or held junk."},
		{Name: "penstock_store_reconciled_total", Kind: Count, Help: "Sessions stored that had changed while Redis was away."},
		{Name: "penstock_store_fenced_total", Kind: Count, Help: "Writes refused since the writer owns the session no longer."},
		{Name: "penstock_store_corrupt_total", Kind: Count, Help: "Stored things refused since they cannot be read.", Do: "Another version, or something else writes under `penstock:1:`."},
	}
}
