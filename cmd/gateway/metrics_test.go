package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/service/metrics"
)

// exposition is what /metrics says: the kinds of metrics, and the figures of series.
type exposition struct {
	text    string
	kinds   map[string]string
	figures map[string]float64
}

// scrape reads /metrics, in OpenMetrics if that is asked for.
func scrape(t *testing.T, addr string, open bool) exposition {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	if open {
		r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("/metrics: %s, %v\n%s", answer.Status, err, body)
	}
	e := exposition{text: string(body), kinds: map[string]string{}, figures: map[string]float64{}}
	for line := range strings.Lines(e.text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(name, " ")
			e.kinds[name] = kind
		}
		if i := strings.LastIndexByte(line, ' '); i > 0 && !strings.HasPrefix(line, "#") {
			e.figures[line[:i]], _ = strconv.ParseFloat(line[i+1:], 64)
		}
	}
	return e
}

// client returns a connection to a gateway, which ends with the test.
func client(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestO2_EverySeriesOfARunningGatewayIsInTheTable runs the binary on a real Redis with real media, reads /metrics while a stream runs, and finds what the table says:
// every metric, of its kind, with no other label or value, and figures of what went on.
func TestO2_EverySeriesOfARunningGatewayIsInTheTable(t *testing.T) {
	redis, _ := startRedis(t)
	s := startServe(t, []string{"PENSTOCK_REDIS_URL=" + redis, "PENSTOCK_POD_SECRET=" + podSecret, "PENSTOCK_OTLP_ENDPOINT=http://127.0.0.1:1"})
	publishAlice(t, s.grpc)
	stream, err := penstockv1.NewTrackServiceClient(client(t, s.grpc)).StreamTrack(t.Context(), &penstockv1.StreamTrackRequest{
		SessionId: "call", Selector: &penstockv1.TrackSelector{Selector: &penstockv1.TrackSelector_Participant{
			Participant: &penstockv1.ParticipantTrack{ParticipantId: "alice-1", Source: penstockv1.Source_SOURCE_CAMERA},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for frames := 0; frames < 5; {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetVideo() != nil {
			frames++
		}
	}
	if got := runBinary(t, nil, "stream", "--session=call", "--addr="+s.grpc, "--user=alice", "--source=microphone", "--frames=20", "--out="+file(t, "a.wav", "")); got.code != 0 {
		t.Fatalf("stream: %d\n%s", got.code, got.err)
	}
	get(t, s.http, "/readyz")
	e := scrape(t, s.http, false)
	e.isInTheTable(t)
	for series, least := range map[string]float64{
		`penstock_sessions{source="offers",state="connected"}`: 1, `penstock_sessions_limit`: 1000,
		`penstock_tracks{codec="vp8",kind="video",state="live"}`: 1, `penstock_tracks{codec="opus",kind="audio",state="live"}`: 1,
		`penstock_streams`: 1, `penstock_consumers{format="i420"}`: 1, `penstock_streams_ended_total{reason="ok"}`: 0, `penstock_frames_total{kind="video"}`: 5,
		`penstock_packets_received_total{kind="video"}`: 10, `penstock_packets_received_bytes_total{kind="audio"}`: 100, `penstock_units_total{kind="audio"}`: 20,
		`penstock_key_frames_total`: 1, `penstock_decoded_total{codec="vp8"}`: 5, `penstock_decode_seconds_total{codec="vp8"}`: 1e-6,
		`penstock_decoded_total{codec="opus"}`: 20, `penstock_decode_seconds_total{codec="opus"}`: 1e-6, `penstock_decode_pool_workers`: 16,
		`penstock_offers_total{result="answered"}`: 1, `penstock_peer_connections`: 1, `penstock_key_frame_requests_total{result="sent"}`: 0,
		`penstock_c_memory_bytes`: 10_000, `penstock_c_heap_used_bytes`: 10_000, `penstock_go_heap_objects_bytes`: 10_000, `penstock_go_memory_bytes`: 10_000,
		`penstock_resolve_seconds_count{result="live"}`: 2, `penstock_stream_first_frame_seconds_count{kind="video"}`: 1, `penstock_stream_open_seconds_count`: 2,
		`penstock_grpc_calls_total{code="ok",method="SessionService/CreateSession"}`: 1, `penstock_grpc_call_seconds_count{method="SessionService/CreateSession"}`: 1,
		`penstock_grpc_calls_open{type="stream"}`: 1, `penstock_store_command_seconds_count`: 1, `penstock_store_pods`: 1, `penstock_store_sessions_owned`: 1,
		`penstock_socket_overflows_total`: 0, `penstock_frames_dropped_total{reason="queue_full"}`: 0, `penstock_forwarded_received_bytes_total`: 0, `penstock_degraded`: 0,
		`go_goroutines`: 1, `process_resident_memory_bytes`: 1e6, `process_open_fds`: 1,
	} {
		if got, ok := e.figures[series]; !ok || got < least {
			t.Errorf("%s is %v, want %v at least", series, got, least)
		}
	}
	open := scrape(t, s.http, true).text
	for _, name := range []string{"penstock_stream_first_frame_seconds", "penstock_stream_open_seconds", "penstock_grpc_call_seconds"} {
		if !regexp.MustCompile(`(?m)^` + name + `_bucket\{.* # \{.*trace_id="[0-9a-f]{32}".*\}`).MatchString(open) {
			t.Errorf("%s has no exemplar", name)
		}
	}
	if !strings.HasSuffix(open, "# EOF\n") {
		t.Error("that is not OpenMetrics")
	}
}

// isInTheTable compares with the table of metrics.
func (e exposition) isInTheTable(t *testing.T) {
	t.Helper()
	for _, section := range metrics.Table() {
		for _, m := range section.Metrics {
			if got := e.kinds[m.Name]; got != m.Kind.String() {
				t.Errorf("%s is %q, and in the table %v", m.Name, got, m.Kind)
			}
		}
	}
	pair := regexp.MustCompile(`(\w+)="([^"]*)"`)
	for series := range e.figures {
		name, labels, _ := strings.Cut(series, "{")
		if !strings.HasPrefix(name, "penstock_") {
			if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
				t.Errorf("%s is not in the table", name)
			}
			continue
		}
		m, ok := metrics.Find(name)
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, cut := strings.CutSuffix(name, suffix); !ok && cut {
				m, ok = metrics.Find(base)
			}
		}
		if !ok {
			t.Errorf("%s is not in the table", name)
			continue
		}
		for _, l := range pair.FindAllStringSubmatch(labels, -1) {
			if i := slices.IndexFunc(m.Labels, func(one metrics.Label) bool { return one.Name == l[1] }); l[1] != "le" &&
				(i < 0 || !m.Labels[i].Process && l[2] != metrics.Other && !slices.Contains(m.Labels[i].Values, l[2])) {
				t.Errorf("%s: the table has no %s=%q", name, l[1], l[2])
			}
		}
	}
}

// TestO2_StrangersMakeNoSeries calls with thousands of ids, methods, paths and codecs that nobody knows: there are as many series afterwards as after the first of each.
func TestO2_StrangersMakeNoSeries(t *testing.T) {
	s := startServe(t, []string{"PENSTOCK_LOG_LEVEL=error"})
	s.create(t, "call")
	c := &stranger{http: s.http, conn: client(t, s.grpc)}
	defer c.web.CloseIdleConnections()
	c.calls(t, 0)
	scrape(t, s.http, false) // is a request too
	before := scrape(t, s.http, false)
	const rounds = 1000
	for i := range rounds {
		c.calls(t, 1+i)
	}
	after := scrape(t, s.http, false)
	after.isBounded(t)
	if len(after.figures) != len(before.figures) {
		t.Errorf("%d series became %d", len(before.figures), len(after.figures))
	}
	for series, want := range map[string]float64{
		`penstock_grpc_calls_total{code="not_found",method="SessionService/GetSession"}`:       rounds + 1,
		`penstock_grpc_calls_total{code="unimplemented",method="other"}`:                       rounds + 1,
		`penstock_http_requests_total{code="4xx",method="other",route="whip"}`:                 rounds + 1,
		`penstock_http_requests_total{code="4xx",method="GET",route="other"}`:                  rounds + 1,
		`penstock_grpc_calls_total{code="invalid_argument",method="SessionService/Negotiate"}`: 1,
	} {
		if got := after.figures[series]; got < want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
}

// isBounded finds nothing in what is told that a stranger said.
func (e exposition) isBounded(t *testing.T) {
	t.Helper()
	for series := range e.figures {
		if strings.Contains(series, strangersName) {
			t.Errorf("%s tells what a caller said", series)
		}
	}
}

// strangersName is a part of all that a stranger names, and of nothing that the gateway tells.
const strangersName = "unheard-of"

// stranger calls with names that nobody knows.
type stranger struct {
	http string
	conn *grpc.ClientConn
	web  http.Client
}

// calls makes one call of each kind.
func (c *stranger) calls(t *testing.T, n int) {
	t.Helper()
	ctx, name := t.Context(), fmt.Sprintf(strangersName+"-%d", n)
	sessions, tracks := penstockv1.NewSessionServiceClient(c.conn), penstockv1.NewTrackServiceClient(c.conn)
	_, err := sessions.GetSession(ctx, &penstockv1.GetSessionRequest{SessionId: name})
	wantCode(t, err, codes.NotFound)
	_, err = sessions.DeleteSession(ctx, &penstockv1.DeleteSessionRequest{SessionId: name})
	wantCode(t, err, codes.OK)
	_, err = tracks.ResolveTrack(ctx, &penstockv1.ResolveTrackRequest{SessionId: "call", Selector: &penstockv1.TrackSelector{Selector: &penstockv1.TrackSelector_TrackId{TrackId: name}}})
	wantCode(t, err, codes.NotFound)
	wantCode(t, c.conn.Invoke(ctx, "/"+name+".Service/"+name, &emptypb.Empty{}, &emptypb.Empty{}), codes.Unimplemented)
	if n%20 == 0 { // an offer takes longer
		_, err = sessions.Negotiate(ctx, &penstockv1.NegotiateRequest{SessionId: "call", Generation: uint64(n + 1), Sdp: oddOffer(name)})
		if code := status.Code(err); code == codes.Internal || code == codes.Unknown {
			t.Fatal(err)
		}
		_, err = sessions.Negotiate(ctx, &penstockv1.NegotiateRequest{SessionId: "call", Sdp: name})
		wantCode(t, err, codes.InvalidArgument)
	}
	c.ask(ctx, t, http.MethodGet, "/"+name)
	c.ask(ctx, t, strings.ToUpper(name), "/whip/"+name)
	c.ask(ctx, t, http.MethodPost, "/whip/"+name)
}

// ask makes a request over HTTP.
func (c *stranger) ask(ctx context.Context, t *testing.T, method, path string) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+c.http+path, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User-Agent", path)
	answer, err := c.web.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	if answer.StatusCode < 400 || answer.StatusCode >= 500 {
		t.Fatalf("%s %s: %s", method, path, answer.Status)
	}
}

// oddOffer offers a codec that there is not.
func oddOffer(codec string) string {
	return strings.ReplaceAll(`v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF
a=setup:actpass
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuvwx
m=audio 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=mid:0
a=sendonly
a=rtcp-mux
a=rtpmap:96 `+codec+"/48000\n", "\n", "\r\n")
}

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Fatalf("%v (%v), want %v", err, got, want)
	}
}
