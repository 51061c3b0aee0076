package metrics

// Methods are the gRPC methods that are served, as label values: service and method without their package. A test compares them with the server.
const Methods = "SessionService/CreateSession SessionService/GetSession SessionService/ListSessions SessionService/DeleteSession SessionService/Negotiate " +
	"SessionService/AddIceCandidate SessionService/UpdateIceServers SessionService/ReportEvents SessionService/Signal " +
	"TrackService/ResolveTrack TrackService/ListTracks TrackService/WatchTracks TrackService/StreamTrack TrackService/GetFrame " +
	"PodService/Adopt PodService/ServeWhip PodService/GetEnd Health/Check Health/List Health/Watch ServerReflection/ServerReflectionInfo"

// codes are the status codes of gRPC.
const codes = "ok canceled unknown invalid_argument deadline_exceeded not_found already_exists permission_denied resource_exhausted failed_precondition " +
	"aborted out_of_range unimplemented internal unavailable data_loss unauthenticated"

// Limits are the names of the service's limits, and those of connections, as label values: ErrorInfo's metadata has the same. A test compares them with the service.
const Limits = "sessions caller_sessions streams caller_streams calls caller_calls caller_rate signal_rate consumers media facts message_bytes request_time whip_rate " +
	"health_watches caller_health_watches decoders failed_auth_rate grpc_connections grpc_address_connections http_connections http_address_connections " +
	"health_connections health_address_connections metrics_connections metrics_address_connections debug_connections debug_address_connections"

// callMetrics are of gRPC and HTTP.
func callMetrics() []Metric {
	method, routes := label("method", Methods), label("route", "whip healthz readyz metrics")
	return []Metric{
		{Name: "penstock_grpc_calls_total", Kind: Count, Labels: []Label{method, label("code", codes)}, Help: "gRPC calls that ended, by method and status code. Methods that are not served are `other`."},
		{Name: "penstock_grpc_calls_open", Kind: Gauge, Labels: []Label{label("type", "unary stream")}, Help: "gRPC calls that are open."},
		{Name: "penstock_grpc_call_seconds", Kind: Durations, Unit: "s", Buckets: latencies(), Labels: []Label{method}, Help: "How long unary calls took, waiting for tracks included."},
		{Name: "penstock_errors_total", Kind: Count, Labels: []Label{label("reason", ErrorReasons)}, Help: "gRPC calls that ended with an error of the gateway's own, by the reason of docs/errors.md.",
			Do: "`internal` is a fault of the gateway: look at the log, and report it. `limit_reached`: more pods or larger limits. `unauthenticated`: callers with wrong credentials."},
		{Name: "penstock_limit_refusals_total", Kind: Count, Labels: []Label{label("limit", Limits)}, Help: "What was refused because a limit was reached, by the limit: docs/configuration.md has the settings.",
			Do: "One caller that floods, or a limit that is too small for what is wanted. Of `…connections`: somebody opens them without end, or a pool of clients is larger than expected."},
		{Name: "penstock_unauthenticated_total", Kind: Count, Help: "Calls without credentials, or with wrong or expired ones.", Do: "Many: a client with an old token, or somebody who tries."},
		{Name: "penstock_panics_total", Kind: Count, Help: "Calls that ended by a fault of the gateway that was caught.", Do: "The log has the stack: report it."},
		{Name: "penstock_connections", Kind: Gauge, Labels: []Label{label("listener", "grpc http health metrics debug")}, Help: "Connections that are open."},
		{Name: "penstock_http_requests_total", Kind: Count, Labels: []Label{routes, label("method", "GET HEAD POST PATCH DELETE OPTIONS"), label("code", "1xx 2xx 3xx 4xx 5xx")},
			Help: "HTTP requests that were answered. Paths and methods that are not served are `other`."},
		{Name: "penstock_http_request_seconds", Kind: Durations, Unit: "s", Buckets: latencies(), Labels: []Label{routes}, Help: "How long they took."},
	}
}
