package metrics

// The values of labels that several metrics have.
const (
	kinds       = "audio video"
	codecs      = "opus pcmu pcma g722 vp8 vp9 h264 h265 av1 unknown"
	sources     = "offers livekit whep whip"
	trackStates = "pending live paused"
)

// sessionMetrics are of what is open here, and of what became of it.
func sessionMetrics() []Metric {
	return []Metric{
		{Name: "penstock_sessions", Kind: Gauge, Labels: []Label{label("state", "awaiting_offer connecting connected disconnected"), label("source", sources)},
			Help: "Sessions that are open in this process.", Do: "Near `penstock_sessions_limit`: more pods."},
		{Name: "penstock_sessions_limit", Kind: Gauge, Help: "How many sessions this process takes (`--max-sessions`).", Do: "The sum of `penstock_sessions` over this is what to scale by."},
		{Name: "penstock_sessions_ended_total", Kind: Count, Labels: []Label{label("reason", "deleted signalling_lost media_lost drained remote_closed moved")},
			Help: "Sessions that ended in this process. moved is to another pod, where they go on.",
			Do:   "Many `media_lost` or `signalling_lost`: look at the network to the SFU, and at signalling."},
		{Name: "penstock_tracks", Kind: Gauge, Labels: []Label{label("kind", kinds), label("codec", codecs), label("state", trackStates)},
			Help: "Tracks of the sessions that are open here. pending waits for its media or its publication.",
			Do:   "Many `pending` for long: signalling does not report publications, or the SFU does not send them."},
		{Name: "penstock_conversations", Kind: Gauge, Help: "`Signal` streams whose session is here."},
		{Name: "penstock_resolve_waiting", Kind: Gauge, Help: "Calls and streams that wait for their track now."},
		{Name: "penstock_resolve_seconds", Kind: Durations, Unit: "s", Buckets: latencies(), Labels: []Label{label("result", "live timeout gone cancelled failed")},
			Help: "How long it took to resolve a track, or to give up. gone: the track, its participant or its session is no longer there.",
			Do:   "Many `timeout`: see `penstock_tracks{state=\"pending\"}`."},
		{Name: "penstock_draining", Kind: Gauge, Help: "1 from when this process was told to stop."},
	}
}

// latencies are bounds from 1 ms to a minute.
func latencies() []float64 {
	return []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
}
