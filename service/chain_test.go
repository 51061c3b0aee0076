package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
)

// panicStore panics where a handler calls it.
type panicStore struct{ resolverstore.Store }

func (panicStore) GetSession(context.Context, resolverstore.SessionKey) (resolverstore.Session, error) {
	panic("a fault")
}

// TestPanicIsInternal lets handlers of both kinds panic: the caller gets INTERNAL without the cause, and the service lives on.
func TestPanicIsInternal(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Store = panicStore{c.Store} })
	for range 2 {
		_, err := g.sessions.GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: "x"})
		st := wantStatus(t, err, codes.Internal, "INTERNAL")
		if st.Message() != fail(penstockv1.ErrorReason_ERROR_REASON_INTERNAL, nil).message() {
			t.Errorf("the caller is told %q", st.Message())
		}
		w, err := g.tracks.WatchTracks(g.ctx, &penstockv1.WatchTracksRequest{SessionId: "x"})
		must(t, err)
		_, err = w.Recv()
		wantStatus(t, err, codes.Internal, "INTERNAL")
	}
	_, err := g.sessions.ListSessions(g.ctx, &penstockv1.ListSessionsRequest{})
	must(t, err)
}

// TestO1_Spans finds the spans of a stream while it runs: resolution and attachment are children of its opening, and that of the
// caller's own span; none is as long as the stream.
func TestO1_Spans(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(recorder))
	g := startGateway(t, func(c *Config) { c.TracerProvider = provider })
	g.call("call")
	const caller = "4bf92f3577b34da6a3ce929d0e0e4736"
	ctx := metadata.AppendToOutgoingContext(g.ctx, "traceparent", "00-"+caller+"-00f067aa0ba902b7-01")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := g.tracks.StreamTrack(ctx, &penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera)})
	must(t, err)
	r := &reader{t, s, cancel}
	r.video()
	r.video() // the spans of the first are made before the second is sent
	watch, err := g.tracks.WatchTracks(ctx, &penstockv1.WatchTracksRequest{SessionId: "call"})
	must(t, err)
	for range 2 { // a message is sent before its span ends; the next comes after that
		_, err = watch.Recv()
		must(t, err)
		_, err = g.sessions.ReportEvents(g.ctx, &penstockv1.ReportEventsRequest{SessionId: "call", Events: []*penstockv1.CallEvent{published("late", microphone)}})
		must(t, err)
	}
	spans := map[string]trace.ReadOnlySpan{}
	for _, span := range recorder.Ended() {
		if span.SpanContext().TraceID().String() == caller {
			spans[span.Name()] = span
		}
	}
	if spans["WatchTracks.open"] == nil {
		t.Error("WatchTracks has no span of its opening")
	}
	open, resolve, attach := spans["StreamTrack.open"], spans["service.resolve"], spans["service.attach"]
	if open == nil || resolve == nil || attach == nil {
		t.Fatalf("while the stream runs there are the spans %v", spans)
	}
	if open.Parent().SpanID().String() != "00f067aa0ba902b7" || resolve.Parent().SpanID() != open.SpanContext().SpanID() ||
		attach.Parent().SpanID() != open.SpanContext().SpanID() {
		t.Errorf("parents are %v, %v, %v", open.Parent(), resolve.Parent(), attach.Parent())
	}
	_, err = g.tracks.GetFrame(g.ctx, &penstockv1.GetFrameRequest{SessionId: "call", Selector: byParticipant("alice", camera)})
	must(t, err) // A reply that is no proto.Message passes the stats handler too.
	cancel()
	_ = r.end()
	for _, span := range recorder.Ended() {
		if span.Name() == "penstock.v1.TrackService/StreamTrack" {
			t.Error("there is a span as long as the stream")
		}
	}
	must(t, provider.Shutdown(context.Background()))
}

// TestLenientKeepalive pings an idle connection as often as gRPC's client allows, without streams: it is never told to
// go away.
func TestLenientKeepalive(t *testing.T) {
	g := startGateway(t)
	conn := g.dial(grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: hang, PermitWithoutStream: true}))
	defer conn.Close()
	if minClientPing >= 10*time.Second {
		t.Errorf("pings closer than %v are answered with GOAWAY; gRPC's clients send them every 10 s", minClientPing)
	}
	_, err := penstockv1.NewSessionServiceClient(conn).ListSessions(g.ctx, &penstockv1.ListSessionsRequest{})
	must(t, err)
}

// TestS14_ManySessions creates, deletes and asks at one time for the same few ids: every answer is a sane one, and nothing is
// left.
func TestS14_ManySessions(t *testing.T) {
	g := startGateway(t)
	var work sync.WaitGroup
	for worker := range 8 {
		work.Go(func() {
			for i := range 25 {
				id := fmt.Sprint("s", (worker+i)%3)
				r, err := g.sessions.CreateSession(g.ctx, &penstockv1.CreateSessionRequest{SessionId: id})
				if err != nil || r.GetSession().GetSessionId() != id {
					t.Errorf("creating gives %v, %v", r, err)
				}
				if err := negotiateCall(id, "no sdp")(g.ctx, g); err != nil {
					if reason, _ := errReason(err); reason != "INVALID_SDP" {
						t.Errorf("negotiating gives %v", err)
					}
				}
				if _, err := g.sessions.DeleteSession(g.ctx, &penstockv1.DeleteSessionRequest{SessionId: id}); err != nil {
					t.Errorf("deleting gives %v", err)
				}
			}
		})
	}
	work.Wait()
	for i := range 3 {
		_, err := g.sessions.DeleteSession(g.ctx, &penstockv1.DeleteSessionRequest{SessionId: fmt.Sprint("s", i)})
		must(t, err)
	}
	if n := g.svc.Sessions(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// panicEvents panics where events are applied.
type panicEvents struct{ resolverstore.Store }

func (panicEvents) ApplyEvents(context.Context, resolverstore.SessionKey, []resolverstore.Event) (resolverstore.Applied, error) {
	panic("a fault")
}

// TestPanicInAConversationIsInternal lets a request of a conversation panic, and then open: the first gets INTERNAL in place of its reply and the
// conversation goes on, the second ends its conversation. Neither tells the cause, and the service lives on.
func TestPanicInAConversationIsInternal(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Store = panicEvents{c.Store} })
	g.create("call")
	s := g.raw("call")
	must(t, s.Send(eventsOf(2, published("alice", camera))))
	must(t, s.Send(candidateOf(3, 1, "")))
	for range 2 {
		m := s.reply()
		if e := m.GetError(); m.GetRequestId() == 2 && (e.GetReason() != "INTERNAL" || strings.Contains(e.GetMessage(), "a fault")) ||
			m.GetRequestId() == 3 && m.GetCandidateResult() == nil {
			t.Errorf("got %v", m)
		}
	}
	must(t, s.CloseSend())
	if err := s.end(); !errors.Is(err, io.EOF) {
		t.Errorf("the conversation ended with %v", err)
	}

	g = startGateway(t, func(c *Config) { c.Store = panicStore{c.Store} })
	g.create("call")
	s = g.raw("")
	must(t, s.Send(openOf("call")))
	if st := wantStatus(t, s.end(), codes.Internal, "INTERNAL"); strings.Contains(st.Message(), "a fault") {
		t.Errorf("the status tells %q", st.Message())
	}
	if g.svc.Sessions() != 1 {
		t.Error("the session is gone")
	}
}
