package main

import (
	"math"
	"runtime"
	runtimemetrics "runtime/metrics"
	"strings"

	"github.com/penstock-media/penstock/cmd/gateway/internal/certs"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
	"github.com/penstock-media/penstock/service/metrics"
)

// measure tells what the parts of the gateway hold and have counted. It is called at each collection.
func (g *gateway) measure(o *metrics.Observer) {
	measureProcess(o)
	measurePool(o, g.decoders.Stats())
	o.Observe("penstock_consumer_queue_limit_bytes", float64(g.cfg.MaxQueuedBytes))
	measureMedia(o, g.decoders.Totals())
	measureNetwork(o, g.pool.Stats())
	g.measureCerts(o)
	g.measureSecrets(o)
	if g.storeStats != nil {
		measureStore(o, g.storeStats())
	}
}

// measureCerts tells of certificates. Without TLS none expires.
func (g *gateway) measureCerts(o *metrics.Observer) {
	var s certs.Stats
	expires := math.Inf(1)
	if g.certs != nil {
		s = g.certs.Stats()
		expires = float64(s.Expires.Unix())
	}
	o.Observe("penstock_certificate_expiry_seconds", expires)
	o.Observe("penstock_certificate_reloads_total", float64(s.Reloads), "ok")
	o.Observe("penstock_certificate_reloads_total", float64(s.Failures), "failed")
	o.Observe("penstock_tls_refused_total", float64(s.Refused))
}

// measureSecrets tells of files of secrets.
func (g *gateway) measureSecrets(o *metrics.Observer) {
	var taken, failed uint64
	for _, s := range g.secrets {
		taken += s.taken.Load()
		failed += s.failed.Load()
	}
	o.Observe("penstock_secret_reloads_total", float64(taken), "ok")
	o.Observe("penstock_secret_reloads_total", float64(failed), "failed")
}

// measureProcess tells the build, and what memory consists of, in bytes.
func measureProcess(o *metrics.Observer) {
	o.Observe("penstock_build_info", 1, buildVersion(), runtime.Version())
	c, heap := media.CMemoryInUse(), media.CHeapNow()
	o.Observe("penstock_c_memory_objects", float64(c.Objects))
	o.Observe("penstock_c_memory_bytes", float64(c.Bytes))
	o.Observe("penstock_c_heap_used_bytes", float64(heap.Used))
	o.Observe("penstock_c_heap_free_bytes", float64(heap.Free))
	classes := map[string]string{
		"/memory/classes/heap/objects:bytes": "penstock_go_heap_objects_bytes", "/memory/classes/heap/unused:bytes": "penstock_go_heap_unused_bytes",
		"/memory/classes/heap/free:bytes": "penstock_go_heap_free_bytes", "/memory/classes/heap/released:bytes": "penstock_go_heap_released_bytes",
		"/memory/classes/heap/stacks:bytes": "penstock_go_stack_bytes", "/memory/classes/total:bytes": "penstock_go_memory_bytes",
	}
	samples := make([]runtimemetrics.Sample, 0, len(classes))
	for class := range classes {
		samples = append(samples, runtimemetrics.Sample{Name: class})
	}
	runtimemetrics.Read(samples)
	for _, s := range samples {
		if s.Value.Kind() == runtimemetrics.KindUint64 {
			o.Observe(classes[s.Name], float64(s.Value.Uint64()))
		}
	}
}

// measurePool tells how the decode workers fare.
func measurePool(o *metrics.Observer, s media.PoolStats) {
	o.Observe("penstock_decode_pool_workers", float64(s.Workers))
	o.Observe("penstock_decode_pool_busy_ratio", s.Busy)
	o.Observe("penstock_decode_pool_queue", float64(s.WaitingAudio), "audio")
	o.Observe("penstock_decode_pool_queue", float64(s.WaitingVideo), "video")
	o.Observe("penstock_quality_limit", float64(s.Lightened))
	o.Observe("penstock_quality_limits_total", float64(s.Lightenings))
	o.Observe("penstock_tracks_suspended", float64(s.Suspended))
}

// measureMedia tells what came, what was decoded, and what consumers hold.
func measureMedia(o *metrics.Observer, t media.Totals) {
	measureTracks(o, "audio", t.Audio)
	measureTracks(o, "video", t.Video)
	o.Observe("penstock_key_frames_total", float64(t.Video.KeyFrames))
	for codec, d := range t.Decoded {
		name := strings.ToLower(codec.String())
		o.Observe("penstock_decoded_total", float64(d.Units), name)
		o.Observe("penstock_decode_seconds_total", d.Time.Seconds(), name)
	}
	c := t.Consumers
	o.Observe("penstock_consumers", float64(c.Encoded), "encoded")
	for format, name := range map[media.SampleFormat]string{media.S16LE: "s16le", media.F32LE: "f32le"} {
		o.Observe("penstock_consumers", float64(c.Audio[format]), name)
	}
	for format, name := range map[media.PixelFormat]string{media.I420: "i420", media.NV12: "nv12", media.RGB24: "rgb24", media.RGBA: "rgba", media.JPEG: "jpeg"} {
		o.Observe("penstock_consumers", float64(c.Video[format]), name)
	}
	o.Observe("penstock_consumer_queue_frames", float64(c.QueuedFrames))
	o.Observe("penstock_consumer_queue_bytes", float64(c.QueuedBytes))
	o.Observe("penstock_consumer_queue_longest_bytes", float64(c.LongestBytes))
	o.Observe("penstock_frames_dropped_total", float64(c.DroppedQueueFull), "queue_full")
	o.Observe("penstock_frames_dropped_total", float64(c.DroppedAllQueuesFull), "all_queues_full")
	o.Observe("penstock_frames_dropped_total", float64(c.DroppedStalled), "stalled")
}

// measureTracks tells what the tracks of one kind did.
func measureTracks(o *metrics.Observer, kind string, t media.TrackTotals) {
	o.Observe("penstock_packets_received_total", float64(t.Packets), kind)
	o.Observe("penstock_packets_received_bytes_total", float64(t.Bytes), kind)
	o.Observe("penstock_packets_lost_total", float64(t.Lost), kind)
	o.Observe("penstock_packets_restored_total", float64(t.Restored), kind)
	o.Observe("penstock_packets_discarded_total", float64(t.Late), kind, "late")
	o.Observe("penstock_packets_discarded_total", float64(t.Duplicate), kind, "duplicate")
	o.Observe("penstock_packets_discarded_total", float64(t.Unusable), kind, "unusable")
	o.Observe("penstock_packets_discarded_total", float64(t.Filler), kind, "filler")
	o.Observe("penstock_units_total", float64(t.Units), kind)
	o.Observe("penstock_units_dropped_total", float64(t.UnitsDropped), kind, "broken")
	o.Observe("penstock_units_dropped_total", float64(t.UnitsSkipped), kind, "not_needed")
	o.Observe("penstock_decode_errors_total", float64(t.DecodeErrors), kind)
	o.Observe("penstock_frames_total", float64(t.Frames), kind)
}

// measureNetwork tells what came of offers and candidates, what RTCP was sent, and how sockets fare.
func measureNetwork(o *metrics.Observer, s rtcpool.Stats) {
	o.Observe("penstock_peer_connections", float64(s.PeerConnections))
	each := func(name string, of map[string]uint64) {
		for value, n := range of {
			o.Observe(name, float64(n), value)
		}
	}
	each("penstock_offers_total", map[string]uint64{
		"answered": s.Answered, "repeated": s.Repeated, "failed": s.Failed, "refused_busy": s.Busy,
		"dropped_closed": s.DroppedClosed, "dropped_stale": s.DroppedStale, "dropped_superseded": s.DroppedSuperseded,
	})
	each("penstock_candidates_total", map[string]uint64{
		"added": s.CandidatesAdded, "kept": s.CandidatesKept, "ignored": s.CandidatesIgnored, "dropped": s.CandidatesDropped,
	})
	r := s.Network.Refused
	each("penstock_candidates_refused_total", map[string]uint64{
		"own": r.Own, "metadata": r.Metadata, "loopback": r.Loopback, "multicast": r.Multicast, "private": r.Private, "mdns": r.MDNS, "in_use": r.InUse,
	})
	each("penstock_key_frame_requests_total", map[string]uint64{"sent": s.KeyFrameRequests, "held": s.KeyFrameRequestsHeld, "unsupported": s.KeyFrameRequestsUnknown})
	each("penstock_rtcp_sent_total", map[string]uint64{"receiver_report": s.ReceiverReports, "transport_cc": s.TransportCC, "remb": s.REMBs})
	o.Observe("penstock_nacks_total", float64(s.NACKs))
	o.Observe("penstock_packets_nacked_total", float64(s.NACKedPackets))
	o.Observe("penstock_packets_repaired_total", float64(s.RepairedPackets))
	o.Observe("penstock_retransmissions_unwanted_total", float64(s.UnwantedRetransmissions))
	o.Observe("penstock_rtcp_bad_total", float64(s.BadRTCP))
	o.Observe("penstock_byes_total", float64(s.Byes))
	o.Observe("penstock_packets_unbound_total", float64(s.UnboundPackets))
	o.Observe("penstock_sources_refused_total", float64(s.SourcesRefused))
	n := s.Network
	o.Observe("penstock_socket_overflows_total", float64(n.SocketOverflows))
	o.Observe("penstock_mux_spilled_total", float64(n.MuxSpilled))
	o.Observe("penstock_tcp_connections", float64(n.TCPConnections))
	o.Observe("penstock_tcp_refused_total", float64(n.TCPRefused))
	o.Observe("penstock_relay_refreshes_failed_total", float64(n.RelayRefreshesFailed))
}

// measureStore tells how the store that pods share fares.
func measureStore(o *metrics.Observer, s resolverstore.Stats) {
	o.Observe("penstock_store_pods", float64(s.Pods))
	o.Observe("penstock_store_pods_unproved", float64(s.Unproved))
	o.Observe("penstock_store_sessions_held", float64(s.Held))
	o.Observe("penstock_store_sessions_owned", float64(s.Owned))
	o.Observe("penstock_store_sessions_ahead", float64(s.Ahead))
	o.Observe("penstock_store_failures_total", float64(s.Failures))
	o.Observe("penstock_store_losses_total", float64(s.Losses))
	o.Observe("penstock_store_pauses_total", float64(s.Pauses))
	o.Observe("penstock_store_rewritten_total", float64(s.Rewritten))
	o.Observe("penstock_store_reconciled_total", float64(s.Reconciled))
	o.Observe("penstock_store_fenced_total", float64(s.Fenced))
	o.Observe("penstock_store_corrupt_total", float64(s.Corrupt))
}
