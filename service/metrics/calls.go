package metrics

// Methods are the gRPC methods that are served, as label values: service and method without their package. A test compares them with the server.
const Methods = "SessionService/CreateSession SessionService/GetSession SessionService/ListSessions SessionService/DeleteSession SessionService/Negotiate " +
	"SessionService/AddIceCandidate SessionService/UpdateIceServers SessionService/ReportEvents SessionService/Signal " +
	"TrackService/ResolveTrack TrackService/ListTracks TrackService/WatchTracks TrackService/StreamTrack TrackService/GetFrame " +
	"PodService/Adopt PodService/ServeWhip Health/Check Health/List Health/Watch ServerReflection/ServerReflectionInfo"

// codes are the status codes of gRPC.
const codes = "ok canceled unknown invalid_argument deadline_exceeded not_found already_exists permission_denied resource_exhausted failed_precondition " +
	"aborted out_of_range unimplemented internal unavailable data_loss unauthenticated"

// callMetrics are of gRPC and HTTP.
func callMetrics() []Metric {
	method, routes := label("method", Methods), label("route", "whip healthz readyz metrics")
	return []Metric{
		{Name: "penstock_grpc_calls_total", Kind: Count, Labels: []Label{method, label("code", codes)}, Help: "gRPC calls that ended, by method and status code. Methods that are not served are `other`."},
		{Name: "penstock_grpc_calls_open", Kind: Gauge, Labels: []Label{label("type", "unary stream")}, Help: "gRPC calls that are open."},
		{Name: "penstock_grpc_call_seconds", Kind: Durations, Unit: "s", Buckets: latencies(), Labels: []Label{method}, Help: "How long unary calls took, waiting for tracks included."},
		{Name: "penstock_errors_total", Kind: Count, Labels: []Label{label("reason", ErrorReasons)}, Help: "gRPC calls that ended with an error of the gateway's own, by the reason of docs/errors.md.",
			Do: "`internal` is a fault of the gateway: look at the log, and report it. `limit_reached`: more pods or larger limits. `unauthenticated`: callers with wrong credentials."},
		{Name: "penstock_http_requests_total", Kind: Count, Labels: []Label{routes, label("method", "GET HEAD POST PATCH DELETE OPTIONS"), label("code", "1xx 2xx 3xx 4xx 5xx")},
			Help: "HTTP requests that were answered. Paths and methods that are not served are `other`."},
		{Name: "penstock_http_request_seconds", Kind: Durations, Unit: "s", Buckets: latencies(), Labels: []Label{routes}, Help: "How long they took."},
	}
}
