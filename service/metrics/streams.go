package metrics

// ErrorReasons are the reasons of errors (docs/errors.md) as label values. A test compares them with the contract.
const ErrorReasons = "invalid_field invalid_sdp no_media session_not_found session_exists session_ended track_not_found participant_left track_not_live " +
	"format_kind_mismatch codec_not_accepted codec_unsupported message_too_large consumer_stalled limit_reached draining unauthenticated not_implemented internal " +
	"not_an_offers_session negotiation_failed cancelled deadline signal_replaced store_unavailable session_moving session_elsewhere forward_refused resume_token_invalid permission_denied credentials_expired auth_unavailable " +
	"unknown_method malformed_request"

// streamMetrics are of what workers read.
func streamMetrics() []Metric {
	return []Metric{
		{Name: "penstock_streams", Kind: Gauge, Help: "Calls of StreamTrack and GetFrame that are open, forwarded ones among them."},
		{Name: "penstock_streams_limit", Kind: Gauge, Help: "How many of these this process takes (`--max-streams`)."},
		{Name: "penstock_streams_ended_total", Kind: Count, Labels: []Label{label("reason", "ok "+ErrorReasons)},
			Help: "Calls of StreamTrack that ended here. ok is after the ended event; the others are those of docs/errors.md.",
			Do:   "`consumer_stalled`: workers that do not keep up. `internal`: look at the log."},
		{Name: "penstock_stream_open_seconds", Kind: Durations, Unit: "s", Buckets: latencies(), Help: "From a call of StreamTrack to its header, waiting for the track included."},
		{Name: "penstock_stream_first_frame_seconds", Kind: Durations, Unit: "s", Buckets: latencies(), Labels: []Label{label("kind", kinds)},
			Help: "From the header of a stream to its first frame, if the track was live.", Do: "Video above a second: the SFU answers key frame requests late, or decoders have no time."},
		{Name: "penstock_consumers", Kind: Gauge, Labels: []Label{label("format", "encoded s16le f32le i420 nv12 rgb24 rgba jpeg")},
			Help: "Consumers of the media that are received here, by what they asked for."},
		{Name: "penstock_consumer_queue_frames", Kind: Gauge, Help: "Frames that wait for consumers, all together."},
		{Name: "penstock_consumer_queue_bytes", Kind: Gauge, Unit: "By", Help: "What those hold.", Do: "Near its limit the longest queues are made shorter."},
		{Name: "penstock_consumer_queue_longest_bytes", Kind: Gauge, Unit: "By", Help: "What the longest queue of one consumer holds."},
		{Name: "penstock_consumer_queue_limit_bytes", Kind: Gauge, Unit: "By", Help: "What all queues together may hold (`--max-queued-bytes`)."},
		{Name: "penstock_frames_total", Kind: Count, Labels: []Label{label("kind", kinds)}, Help: "Frames and packets that were made for consumers, those dropped among them."},
		{Name: "penstock_frames_dropped_total", Kind: Count, Labels: []Label{label("reason", "queue_full all_queues_full stalled")},
			Help: "Frames that consumers did not get: the queue was full, all queues together were, or the consumer was ended for it.",
			Do:   "Workers that do not keep up. `all_queues_full`: more memory and a larger `--max-queued-bytes`, or fewer streams a pod."},
	}
}
