package metrics

// networkMetrics are of negotiations, ICE, RTCP and sockets.
func networkMetrics() []Metric {
	return []Metric{
		{Name: "penstock_peer_connections", Kind: Gauge, Help: "Peer connections that are open."},
		{Name: "penstock_offers_total", Kind: Count, Labels: []Label{label("result", "answered repeated failed refused_busy dropped_closed dropped_stale dropped_superseded")},
			Help: "Offers by what became of them. Dropped ones came too late to matter; repeated ones got the answer that they had.",
			Do:   "`failed`: look at the log. Many dropped: signalling is slow, or offers twice."},
		{Name: "penstock_candidates_total", Kind: Count, Labels: []Label{label("result", "added kept ignored dropped")}, Help: "Remote ICE candidates that signalling brought."},
		{Name: "penstock_candidates_refused_total", Kind: Count, Labels: []Label{label("reason", "own metadata loopback multicast private mdns in_use")},
			Help: "Remote candidates whose address is not allowed.", Do: "`metadata` or `own`: somebody tries to make the gateway send where it must not."},
		{Name: "penstock_nacks_total", Kind: Count, Help: "NACK packets that were sent."},
		{Name: "penstock_packets_nacked_total", Kind: Count, Help: "Packets that they asked for."},
		{Name: "penstock_packets_repaired_total", Kind: Count, Help: "Packets that came after they were asked for."},
		{Name: "penstock_retransmissions_unwanted_total", Kind: Count, Help: "Retransmissions of what was there or given up, and probes."},
		{Name: "penstock_key_frame_requests_total", Kind: Count, Labels: []Label{label("result", "sent held unsupported")},
			Help: "Requests for a key frame: sent, held back since one was just sent, or not negotiated.", Do: "Many: losses, or consumers that come and go."},
		{Name: "penstock_rtcp_sent_total", Kind: Count, Labels: []Label{label("type", "receiver_report transport_cc remb")}, Help: "RTCP packets that were sent, but for NACKs and key frame requests."},
		{Name: "penstock_rtcp_bad_total", Kind: Count, Help: "RTCP packets that could not be read."},
		{Name: "penstock_byes_total", Kind: Count, Help: "Sources that said BYE."},
		{Name: "penstock_packets_unbound_total", Kind: Count, Help: "Packets of sources that belong to no media."},
		{Name: "penstock_sources_refused_total", Kind: Count, Help: "Sources that no offer declares, beyond what one peer connection may have.", Do: "A sender that makes SSRCs up."},
		{Name: "penstock_socket_overflows_total", Kind: Count, Help: "Packets that the kernel dropped since they were not read in time (Linux only).",
			Do: "More CPU; larger `--ice-receive-buffer` or `--ice-udp-mux-receive-buffer`, and `net.core.rmem_max`."},
		{Name: "penstock_mux_spilled_total", Kind: Count, Help: "Peer connections that no shared UDP port could take.", Do: "More `--ice-udp-mux-ports`."},
		{Name: "penstock_tcp_connections", Kind: Gauge, Help: "Connections open at the shared TCP port."},
		{Name: "penstock_tcp_refused_total", Kind: Count, Help: "Connections beyond `--ice-tcp-mux-connections`."},
		{Name: "penstock_relay_refreshes_failed_total", Kind: Count, Help: "Refreshes of an allocation that a TURN server refused.", Do: "Credentials that expire: signalling is to call UpdateIceServers in time."},
	}
}
