package metrics

// mediaMetrics are of RTP packets and what they were put together to, of all tracks since the process began.
func mediaMetrics() []Metric {
	kind := []Label{label("kind", kinds)}
	return []Metric{
		{Name: "penstock_packets_received_total", Kind: Count, Labels: kind, Help: "RTP packets of tracks."},
		{Name: "penstock_packets_received_bytes_total", Kind: Count, Unit: "By", Labels: kind, Help: "What those took, header included."},
		{Name: "penstock_packets_lost_total", Kind: Count, Labels: kind, Help: "Packets that never came, or too late, though they were asked for again.",
			Do: "Look at the network to the SFU, and at `penstock_socket_overflows_total`."},
		{Name: "penstock_packets_restored_total", Kind: Count, Labels: kind, Help: "Missing packets whose content redundant ones brought (RED)."},
		{Name: "penstock_packets_discarded_total", Kind: Count, Labels: []Label{label("kind", kinds), label("reason", "late duplicate unusable filler")},
			Help: "Packets that were of no use: late or twice, not to be parsed or of an unknown payload type, or sent by an SFU to fill a muted track."},
		{Name: "penstock_units_total", Kind: Count, Labels: kind, Help: "Access units of video and packets of audio that were complete."},
		{Name: "penstock_units_dropped_total", Kind: Count, Labels: []Label{label("kind", kinds), label("reason", "broken not_needed")},
			Help: "Units that were not decoded: incomplete, depending on what was lost or without a decoder in time; or, not needed for the rate asked for, or left out under load."},
		{Name: "penstock_key_frames_total", Kind: Count, Help: "Key frames of video that came."},
	}
}

// decodeMetrics are of decoders and what they take.
func decodeMetrics() []Metric {
	return []Metric{
		{Name: "penstock_decode_seconds_total", Kind: Count, Unit: "s", Labels: []Label{label("codec", codecs)}, Help: "Time that workers spent to decode, convert and hand out, by the wall clock.",
			Do: "Over `penstock_decoded_total` it is what a unit takes."},
		{Name: "penstock_decoded_total", Kind: Count, Labels: []Label{label("codec", codecs)}, Help: "Units that workers decoded; of audio once for each distinct rate and channel count."},
		{Name: "penstock_decode_errors_total", Kind: Count, Labels: []Label{label("kind", kinds)}, Help: "Units that gave an error.", Do: "Few come with losses. Many: a sender that encodes what its SDP does not say."},
		{Name: "penstock_decode_pool_workers", Kind: Gauge, Help: "Workers that decode video (`--decode-workers`); one more serves audio."},
		{Name: "penstock_decode_pool_busy_ratio", Kind: Gauge, Help: "The share of their time that decoding takes, 0 to 1, of the last half second.", Do: "Near 1: more CPU, more pods, or fewer and smaller pictures asked for."},
		{Name: "penstock_decode_pool_queue", Kind: Gauge, Labels: []Label{label("kind", kinds)}, Help: "Tracks that wait for a worker."},
		{Name: "penstock_quality_limit", Kind: Gauge, Help: "How far video is lightened since the workers do not keep up: 0 not at all, 1 fewer layers, 2 the base layer, 3 smaller pictures are asked for, 4 tracks are suspended.",
			Do: "As for the busy ratio."},
		{Name: "penstock_quality_limits_total", Kind: Count, Help: "Steps by which video was lightened."},
		{Name: "penstock_tracks_suspended", Kind: Gauge, Help: "Tracks that are not decoded though somebody wants them."},
	}
}
