//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// storyInJaeger is a worker's call as Jaeger must show it while the stream runs. The worker called the pod that does not own the session.
const storyInJaeger = `entry StreamTrack.open
  entry service.locate
  entry service.forward
    owner StreamTrack.open
      owner service.resolve
      owner service.attach
      owner media.key_frame_request
      owner media.first_packet
      owner media.first_decoded_frame
      owner service.first_message
  entry service.first_message
`

// callersSpan is the span in which the worker calls. Jaeger does not know it.
const callersSpan = "00f067aa0ba902b7"

// traceLimit is how long a part of the beginning of a stream may last to be called short: a second above the limit that the gateway sets itself.
const traceLimit = 11 * time.Second

// TestO1_JaegerShowsTheStoryWhileTheStreamRuns has Chromium publish to one of two pods and a worker stream from the pod that does not own the session, and reads the
// worker's trace from Jaeger's query API while the stream runs.
func TestO1_JaegerShowsTheStoryWhileTheStreamRuns(t *testing.T) {
	const session = "o1"
	j := startJaeger(t)
	redis := startRedis(t)
	t.Setenv("PENSTOCK_POD_SECRET", "0123456789abcdef0123456789abcdef")
	pods := make(map[string]*gatewayProcess) // by incarnation
	for range 2 {
		g := serve(t, "--redis-url=redis://"+redis, "--otlp-endpoint=http://"+j.otlp, "--endpoint-grace=0s")
		pods[g.incarnation(t)] = g
	}
	var first *gatewayProcess
	for _, first = range pods {
		break
	}
	b := publish(t, "http://"+first.http+"/whip/"+session+"?user=ann", opus, "video/VP8")
	b.wait(t, "answered", nil)
	b.wait(t, "state", func(s string) bool { return s == "connected" })
	owner := ownerOf(t, first, session)
	names := map[string]string{owner: "owner"}
	var entry *gatewayProcess
	for incarnation, g := range pods {
		if incarnation != owner {
			entry, names[incarnation] = g, "entry"
		}
	}
	var story jaegerTrace
	for attempt := 1; ; attempt++ {
		// While the last key frame is fresh none is asked for, nor while a decoder rests: 4 s of sound go by before the first stream, 14 s before any other.
		record(t, entry, session, "microphone", 200+500*min(attempt-1, 1), ".ogg")
		id := fmt.Sprintf("4bf92f3577b34da6a3ce929d0e0e%04x", attempt)
		w := streamPictures(t, entry, session, id)
		story = j.await(t, id, w)
		if story.count("media.key_frame_request") > 0 {
			judgeStory(t, story, names, w)
			w.stop()
			break
		}
		w.stop()
		if attempt == 5 {
			t.Fatalf("no stream asked for a key frame; the last trace is\n%s", story.tree(names))
		}
	}
	judgeLinks(t, j, story)
	if out := os.Getenv("PENSTOCK_TRACE_OUT"); out != "" {
		story.write(t, out, names)
	}
	ending(t, entry, b, session)
}

// judgeStory checks the tree, the parents and the lengths.
func judgeStory(t *testing.T, story jaegerTrace, names map[string]string, w *pictureStream) {
	t.Helper()
	if got := story.tree(names); got != storyInJaeger {
		t.Errorf("Jaeger shows\n%s\nwant\n%s", got, storyInJaeger)
	}
	known := make(map[string]bool)
	for _, s := range story.Spans {
		known[s.SpanID] = true
	}
	missing := 0
	for _, s := range story.Spans {
		if parent := s.parent(); !known[parent] {
			missing++
			if parent != callersSpan {
				t.Errorf("the parent %q of %s is not there", parent, s.Operation)
			}
		}
		if d := time.Duration(s.Duration) * time.Microsecond; d > traceLimit {
			t.Errorf("%s lasted %v", s.Operation, d)
		}
	}
	if missing != 1 {
		t.Errorf("%d spans have a parent that Jaeger does not know, want the caller's own only", missing)
	}
	if w.ended() {
		t.Error("the stream has ended meanwhile")
	}
}

// judgeLinks checks that the attachment names the negotiation that feeds it, which is in Jaeger too, below the publisher's request.
func judgeLinks(t *testing.T, j *jaeger, story jaegerTrace) {
	t.Helper()
	for _, s := range story.Spans {
		if s.Operation != "service.attach" {
			continue
		}
		for _, r := range s.References {
			if r.Type != "FOLLOWS_FROM" {
				continue
			}
			feeding := j.get(t, r.TraceID)
			if feeding.count("rtcpool.negotiate") != 1 || feeding.count("WHIP POST") != 1 {
				t.Errorf("the trace that the stream is fed by is\n%s", feeding.tree(nil))
			}
			return
		}
	}
	t.Error("the attachment names no negotiation")
}

// jaeger is a running Jaeger, with everything in its memory.
type jaeger struct{ otlp, query string }

// startJaeger starts Jaeger on loopback and waits until it answers.
func startJaeger(t *testing.T) *jaeger {
	t.Helper()
	j := &jaeger{otlp: "127.0.0.1:" + freePort(t), query: "127.0.0.1:" + freePort(t)}
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off") // its own
	defer t.Setenv("OTEL_TRACES_SAMPLER", "")
	daemon(t, program(t, "JAEGER", "jaeger"), "--collector.otlp.grpc.host-port="+j.otlp, "--query.http-server.host-port="+j.query,
		"--collector.otlp.http.host-port=127.0.0.1:0", "--collector.grpc-server.host-port=127.0.0.1:0", "--collector.http-server.host-port=127.0.0.1:0",
		"--query.grpc-server.host-port=127.0.0.1:0", "--admin.http.host-port=127.0.0.1:0", "--log-level=warn")
	await(t, "Jaeger answers", func() bool {
		_, code := j.ask(t, "/api/services")
		return code == http.StatusOK
	})
	return j
}

// ask calls the query API. Code 0 is no answer.
func (j *jaeger) ask(t *testing.T, path string) (body []byte, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+j.query+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, 0
	}
	defer func() { _ = answer.Body.Close() }()
	if body, err = io.ReadAll(answer.Body); err != nil {
		t.Fatal(err)
	}
	return body, answer.StatusCode
}

// get reads a trace; an empty one is not there yet.
func (j *jaeger) get(t *testing.T, id string) jaegerTrace {
	t.Helper()
	body, code := j.ask(t, "/api/traces/"+id)
	if code == http.StatusNotFound {
		return jaegerTrace{}
	}
	var answer struct {
		Data []jaegerTrace `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Data) != 1 {
		t.Fatalf("Jaeger answers %d %s: %v", code, body, err)
	}
	return answer.Data[0]
}

// await reads a trace until it is whole: the first message has been sent by both pods, and both openings have ended.
func (j *jaeger) await(t *testing.T, id string, w *pictureStream) (story jaegerTrace) {
	t.Helper()
	w.picture(t)
	await(t, "the story is in Jaeger", func() bool {
		story = j.get(t, id)
		// What goes wrong later has spans too, as on a machine that is too busy to decode or to read every frame.
		story.Spans = slices.DeleteFunc(story.Spans, func(s jaegerSpan) bool { return s.Operation == "StreamTrack.event" })
		return story.count("StreamTrack.open") == 2 && story.count("service.first_message") == 2 && story.count("service.forward") == 1
	})
	return story
}

// jaegerTrace is a trace in the words of Jaeger's query API.
type jaegerTrace struct {
	TraceID   string                   `json:"traceID"`
	Spans     []jaegerSpan             `json:"spans"`
	Processes map[string]jaegerProcess `json:"processes"`
}

type jaegerSpan struct {
	TraceID    string            `json:"traceID"`
	SpanID     string            `json:"spanID"`
	Operation  string            `json:"operationName"`
	References []jaegerReference `json:"references"`
	Start      int64             `json:"startTime"` // µs
	Duration   int64             `json:"duration"`  // µs
	Process    string            `json:"processID"`
}

type jaegerReference struct {
	Type    string `json:"refType"`
	TraceID string `json:"traceID"`
	SpanID  string `json:"spanID"`
}

type jaegerProcess struct {
	Service string `json:"serviceName"`
	Tags    []struct {
		Key   string `json:"key"`
		Value any    `json:"value"`
	} `json:"tags"`
}

// parent is the id of a span's parent.
func (s jaegerSpan) parent() string {
	for _, r := range s.References {
		if r.Type == "CHILD_OF" {
			return r.SpanID
		}
	}
	return ""
}

// count counts the spans of a name.
func (tr jaegerTrace) count(operation string) (n int) {
	for _, s := range tr.Spans {
		if s.Operation == operation {
			n++
		}
	}
	return n
}

// pod names the process of a span.
func (tr jaegerTrace) pod(s jaegerSpan, names map[string]string) string {
	for _, tag := range tr.Processes[s.Process].Tags {
		if text, ok := tag.Value.(string); ok && tag.Key == "service.instance.id" && names[text] != "" {
			return names[text]
		}
	}
	return "?"
}

// tree writes the trace, each span under its parent, in the order of their beginnings.
func (tr jaegerTrace) tree(names map[string]string) string {
	known, children := make(map[string]bool), make(map[string][]jaegerSpan)
	for _, s := range tr.Spans {
		known[s.SpanID] = true
	}
	for _, s := range tr.Spans {
		parent := s.parent()
		if !known[parent] {
			parent = ""
		}
		children[parent] = append(children[parent], s)
	}
	var b strings.Builder
	var write func(parent, indent string)
	write = func(parent, indent string) {
		slices.SortStableFunc(children[parent], func(x, y jaegerSpan) int {
			if x.Start != y.Start {
				return int(x.Start - y.Start)
			}
			return int(x.Start + x.Duration - y.Start - y.Duration)
		})
		for _, s := range children[parent] {
			fmt.Fprintf(&b, "%s%s %s\n", indent, tr.pod(s, names), s.Operation)
			write(s.SpanID, indent+"  ")
		}
	}
	write("", "")
	return b.String()
}

// write keeps the trace for the documentation's picture, with the pods' names in place of their incarnations, and times from its beginning.
func (tr jaegerTrace) write(t *testing.T, path string, names map[string]string) {
	t.Helper()
	type bar struct {
		ID       string `json:"spanID"`
		Parent   string `json:"parentSpanID"`
		Name     string `json:"operationName"`
		Pod      string `json:"pod"`
		Start    int64  `json:"startMicroseconds"`
		Duration int64  `json:"durationMicroseconds"`
	}
	begin := slices.MinFunc(tr.Spans, func(x, y jaegerSpan) int { return int(x.Start - y.Start) }).Start
	var bars []bar
	for _, s := range tr.Spans {
		bars = append(bars, bar{s.SpanID, s.parent(), s.Operation, tr.pod(s, names), s.Start - begin, s.Duration})
	}
	text, err := json.MarshalIndent(bars, "", "\t")
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// pictureStream is a worker that is no part of this project: grpcurl, which prints every message.
type pictureStream struct {
	cancel context.CancelFunc
	lines  chan string
	done   chan struct{}
}

// streamPictures streams small pictures in the caller's own trace.
func streamPictures(t *testing.T, g *gatewayProcess, session, trace string) *pictureStream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	request := fmt.Sprintf(`{"sessionId":%q,"selector":{"user":{"userId":"ann","source":"SOURCE_CAMERA"}},"format":{"video":{"pixelFormat":"PIXEL_FORMAT_JPEG","width":32,"height":24,"maxFps":5}}}`, session)
	cmd := exec.CommandContext(ctx, program(t, "GRPCURL", "grpcurl"), "-plaintext", "-H", "traceparent: 00-"+trace+"-"+callersSpan+"-01", "-d", request,
		g.grpc, "penstock.v1.TrackService/StreamTrack")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	w := &pictureStream{cancel: cancel, lines: make(chan string, 16), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			select {
			case w.lines <- lines.Text():
			default: // the test looks no more
			}
		}
		_ = cmd.Wait() // it was cancelled
	}()
	t.Cleanup(w.stop)
	return w
}

// picture waits for a picture.
func (w *pictureStream) picture(t *testing.T) {
	t.Helper()
	limit := time.NewTimer(hang)
	defer limit.Stop()
	for {
		select {
		case line := <-w.lines:
			if strings.Contains(line, `"video": {`) && !strings.Contains(line, "format") {
				return
			}
		case <-w.done:
			t.Fatal("the stream ended before its first picture")
		case <-limit.C:
			t.Fatal("no picture came")
		}
	}
}

// ended tells whether the stream has ended.
func (w *pictureStream) ended() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// stop ends the worker.
func (w *pictureStream) stop() {
	w.cancel()
	<-w.done
}

// incarnation is how the pod names itself; it is in its log.
func (g *gatewayProcess) incarnation(t *testing.T) (name string) {
	t.Helper()
	await(t, "the pod says who it is", func() bool {
		_, after, ok := strings.Cut(g.log.String(), "incarnation=")
		name, _, _ = strings.Cut(after, "\n")
		return ok && strings.Contains(after, "\n")
	})
	return strings.Fields(name)[0]
}

// ownerOf asks a pod who owns a session.
func ownerOf(t *testing.T, g *gatewayProcess, session string) string {
	t.Helper()
	out, err := run(t.Context(), program(t, "GRPCURL", "grpcurl"), "-plaintext", "-d", fmt.Sprintf(`{"sessionId":%q}`, session), g.grpc, "penstock.v1.SessionService/GetSession")
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Session struct {
			Owner string `json:"owner"`
		} `json:"session"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || answer.Session.Owner == "" {
		t.Fatalf("GetSession says %s: %v", out, err)
	}
	return answer.Session.Owner
}

// startRedis starts a Redis for one test, and returns its address.
func startRedis(t *testing.T) string {
	t.Helper()
	port := freePort(t)
	addr := "127.0.0.1:" + port
	daemon(t, program(t, "REDIS_SERVER", "redis-server"), "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	await(t, "Redis answers", func() bool {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
	return addr
}
